import type { FigureName } from '../figures.ts'
import type { Result } from '../result.ts'

/** A number with the three digits that say something: `0.034`, `2.51`, `18.4`, `203`, `1590`. */
function short(value: number): string {
  const rounded = Number(value.toPrecision(3))
  const digits = rounded === 0 ? 3 : Math.floor(Math.log10(Math.abs(rounded))) + 1
  return rounded.toFixed(Math.min(3, Math.max(0, 3 - digits)))
}

/** Units per CPU-second: thousands, or megabytes. */
export function costText(value: number, unit: Result['unit']): string {
  return unit === 'MB' ? `${short(value)} MB` : `${short(value / 1000)} k`
}

function timeText(microseconds: number): string {
  return microseconds < 1000 ? `${short(microseconds)} µs` : `${short(microseconds / 1000)} ms`
}

function bytesText(bytes: number): string {
  return Math.abs(bytes) < 2 ** 20 ? `${short(bytes / 2 ** 10)} KiB` : `${short(bytes / 2 ** 20)} MiB`
}

/** Any figure of a result, with its unit; nothing for one that it does not have. */
export function figureText(name: FigureName, value: number | undefined, unit: Result['unit']): string {
  return value === undefined ? '' : texts[name](value, unit)
}

const texts: Record<FigureName, (value: number, unit: Result['unit']) => string> = {
  perCpuSecond: costText,
  loss: (part) => `${short(100 * part)} %`,
  sentPerSecond: costText,
  deliveredPerSecond: costText,
  p50Us: timeText,
  p99Us: timeText,
  p50AddedUs: timeText,
  p99AddedUs: timeText,
  memoryBytes: bytesText,
  serverMemoryBytes: bytesText,
  serverIdleBytes: bytesText,
  clientMemoryBytes: bytesText,
  clientIdleBytes: bytesText,
  bytesPerSession: bytesText,
  growthBytes: bytesText,
  smallerShare: (part) => `${short(100 * part)} %`,
  junkPerSecond: costText,
  redisCommands: short,
  redisCalls: short,
  redisCpuUs: timeText,
}
