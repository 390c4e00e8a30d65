const PATTERN = /^(\d{4}-\d\d-\d\d)[Tt]([01]\d|2[0-3])(:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/

/**
 * Wall time in milliseconds of a time as RFC 3339 writes it, with up to 9 fraction digits, of which the first three count.
 * Undefined for what is none.
 */
export function parseRfc3339(text: string): number | undefined {
  const [, date, hour, minutes, fraction = '', zone = ''] = PATTERN.exec(text) ?? []
  if (date === undefined) return undefined
  const localMs = Date.parse(`${date}T${hour}${minutes}.${fraction.slice(0, 3).padEnd(3, '0')}Z`)
  const offsetMs = zone.length === 1 ? 0 : zoneOffsetMs(zone)
  // A day that the month does not have becomes one of the next month.
  if (Number.isNaN(localMs) || offsetMs === undefined || !isoText(localMs).startsWith(date)) return undefined
  return localMs - offsetMs
}

function isoText(ms: number): string {
  return new Date(ms).toISOString()
}

function zoneOffsetMs(zone: string): number | undefined {
  const hours = Number(zone.slice(1, 3))
  const minutes = Number(zone.slice(4))
  if (hours > 23 || minutes > 59) return undefined
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * 60_000
}
