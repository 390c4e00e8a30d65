/**
 * Bytes per second of a bandwidth limit as frp writes it: a number and `KB` (1024) or `MB` (1024 * 1024). Zero means no
 * limit: for an empty text, and for what is not above zero. `undefined` for a text that frp refuses with `unit not support`
 * or for its number.
 */
export function parseBandwidth(text: string): number | undefined {
  const trimmed = text.trim()
  if (trimmed === '') return 0
  const [, number, unit] = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([KM])B$/.exec(trimmed) ?? []
  if (number === undefined) return undefined
  const bytes = Math.trunc(Number(number) * (unit === 'M' ? 1_048_576 : 1024))
  return Number.isFinite(bytes) ? Math.max(0, bytes) : undefined
}
