// Groups the items of a list: `Map.groupBy`, which the phones of some visitors do not have.

/** A map from each key to its items; keys in the order of their first item. */
export function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (groups.has(key)) groups.get(key).push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
