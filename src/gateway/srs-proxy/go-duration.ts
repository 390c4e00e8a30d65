const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** A duration as Go's programs write it (`300s`, `1h30m`, `1.5h`, `0`), in milliseconds; undefined for anything else. */
export function parseGoDuration(text: string): number | undefined {
  const [, sign, rest = ''] = /^([+-]?)(.*)$/s.exec(text) ?? []
  if (rest === '0') return 0
  const part = String.raw`(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)`
  if (!new RegExp(`^(?:${part})+$`).test(rest)) return undefined
  let ms = 0
  for (const [, number, unit = ''] of rest.matchAll(/(\d+\.?\d*|\.\d+)([a-zµμ]+)/g)) {
    ms += Number(number) * (UNITS_MS[unit] ?? Number.NaN)
  }
  return sign === '-' ? -ms : ms
}
