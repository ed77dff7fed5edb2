// Variables that are not read, with names close to one that is.

/** `PAIR is not read; is PAIRS meant?` for each such variable; never with a value. */
export function misspelt(given, known) {
  const strange = given.filter((name) => !known.includes(name) && !name.startsWith('K6_'));
  return strange.flatMap((name) => {
    const meant = known.find((one) => distance(name, one) <= (one.length < 7 ? 1 : 2));
    return meant ? [`${name} is not read; is ${meant} meant?`] : [];
  });
}

/** Number of letters to insert, remove, change, or exchange with the next. */
function distance(one, other) {
  const rows = [Array.from({ length: other.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= one.length; row += 1) {
    const here = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const changed = one[row - 1] === other[column - 1] ? 0 : 1;
      const exchanged = row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      here.push(Math.min(
        rows[row - 1][column] + 1, here[column - 1] + 1, rows[row - 1][column - 1] + changed,
        exchanged ? rows[row - 2][column - 2] + 1 : Infinity,
      ));
    }
    rows.push(here);
  }
  return rows[one.length][other.length];
}
