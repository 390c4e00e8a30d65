/** The same in an order of chance. */
export function shuffled<T>(list: Iterable<T>, random: () => number): T[] {
  return [...list]
    .map((item) => ({ item, order: random() }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ item }) => item)
}
