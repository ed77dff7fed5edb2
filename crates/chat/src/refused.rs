//! Connections of people who may no longer stay: closed on this node, and on others by a hint.

use std::sync::Arc;

use async_trait::async_trait;

use crate::hub::Hub;
use bus::{ControlChannel, ControlMessage};
use identity::connections::Connections;
use model::person::Person;
use protocol::CloseCode;

/// The connections of this node, and the channel to the others.
pub(crate) struct RefusedConnections {
    pub hub: Arc<Hub>,
    pub control: Arc<dyn ControlChannel>,
}

#[async_trait]
impl Connections for RefusedConnections {
    async fn until_blocks_changed(&self) {
        self.hub.until_blocks_changed().await;
    }

    fn hint_blocks(&self, person: &Person) {
        self.control.send_control(ControlMessage::BlocksChanged { person: person.clone() });
    }

    async fn until_tenants_changed(&self) {
        self.hub.until_tenants_changed().await;
    }

    fn hint_tenants(&self) {
        self.control.send_control(ControlMessage::TenantsChanged);
    }

    fn close_refused(&self, is_refused: &(dyn Fn(&Person) -> bool + Sync)) {
        for outbound in self.hub.connections() {
            if is_refused(outbound.scope()) {
                outbound.close(CloseCode::NotAllowed);
            }
        }
    }
}
