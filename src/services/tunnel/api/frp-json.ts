/**
 * An object without the members that Go's `omitempty` leaves out: empty texts, lists and maps, zero, false, undefined.
 */
export function withoutEmpty(object: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => !isEmpty(value)))
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === '' || value === 0 || value === false) return true
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

/** With members in the order of their names, as Go writes its maps. */
export function sortedByKey<Value>(map: Readonly<Record<string, Value>>): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(map).sort(([one], [other]) => compare(one, other)))
}

/** For `sort`: by code units, as Go compares texts but for the rarest ones. */
export function compare(one: string, other: string): number {
  return one < other ? -1 : Number(one > other)
}
