/** Digits that say something: `0.034`, `2.5`, `18`, `203`, `15,900`. */
export function short(value: number): string {
  if (value === 0) return '0'
  const size = Math.abs(value)
  if (size >= 100) return Number(value.toPrecision(3)).toLocaleString('en')
  return Number(value.toPrecision(2)).toString()
}

export function bytesShort(bytes: number): string {
  for (const [unit, name] of [
    [2 ** 30, 'GiB'],
    [2 ** 20, 'MiB'],
    [2 ** 10, 'KiB'],
  ] as const) {
    if (bytes >= unit) return `${short(bytes / unit)} ${name}`
  }
  return `${short(bytes)} B`
}

/** Megabytes per second, decimal as links are. */
export function rateShort(bytesPerSecond: number): string {
  return `${short(bytesPerSecond / 1e6)} MB/s`
}
