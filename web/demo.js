// Two people side by side.

import { Pane } from './pane.js';

const PATIENT = { kind: 'customer', id: 'demo-patient', title: 'Patient' };
const DENTIST = { kind: 'dentist', id: '1', title: 'Dentist' };

new Pane(document.querySelector('#patient'), PATIENT, DENTIST.id);
new Pane(document.querySelector('#dentist'), DENTIST, PATIENT.id);
