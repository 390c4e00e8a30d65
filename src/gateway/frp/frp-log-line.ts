/** The letter of each of frp's levels, and its colour on a terminal. pino's `fatal` is frp's error. */
const levels: Readonly<Record<string, { readonly letter: string; readonly color: string }>> = {
  trace: { letter: 'T', color: '37' },
  debug: { letter: 'D', color: '36' },
  info: { letter: 'I', color: '34' },
  warn: { letter: 'W', color: '33' },
  error: { letter: 'E', color: '31' },
  fatal: { letter: 'E', color: '31' },
}

/** Characters of one value. A stack has this much to say, a hostile name no more. */
const mostFieldLength = 2000

export interface LineOptions {
  /** Colours as frp has them. */
  readonly isColored: boolean
  /** What stands where frp names a source file. */
  readonly program: string
}

/**
 * One JSON line of the logger as frp writes it (reference §26):
 * `2026-01-02 15:04:05.000 [I] [frpc] [runID] [proxy] text`. What frp says within its text (`start error: port not allowed`,
 * `proxy added: [a b]`) is woven in, other fields stand behind.
 */
export function frpLogLine(json: string, { isColored, program }: LineOptions): string {
  const {
    level,
    time,
    msg,
    runId,
    proxy,
    pid: _pid,
    component: _component,
    err,
    ...fields
  } = JSON.parse(json) as Record<string, unknown>
  const { letter, color } = levels[String(level)] ?? { letter: 'I', color: '34' }
  const prefixes = [runId, proxy]
    .filter((value) => typeof value === 'string')
    .map((value) => ` [${shown(value)}]`)
  const woven = wovenNames.filter((name) => name in fields).map((name) => `: ${goText(fields[name])}`)
  for (const name of wovenNames) delete fields[name]
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${field(value)}`)
  const stack = typeof err === 'object' && err !== null && 'stack' in err ? ` ${field(err.stack)}` : ''
  const text = `${localTime(String(time))} [${letter}] [${program}]${prefixes.join('')} ${shown(msg)}${woven.join('')}${rest.join('')}${stack}`
  return isColored ? `\u001B[1;${color}m${text}\n\u001B[0m` : `${text}\n`
}

/** Fields that frp has in its text, behind a colon. */
const wovenNames = ['error', 'reason', 'proxies', 'visitors'] as const

/** As Go prints texts and lists of them. */
function goText(value: unknown): string {
  return Array.isArray(value) ? `[${value.map(shown).join(' ')}]` : shown(value)
}

function localTime(iso: string): string {
  const date = new Date(iso)
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-')
  const clock = [two(date.getHours()), two(date.getMinutes()), two(date.getSeconds())].join(':')
  return `${day} ${clock}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

function two(value: number): string {
  return String(value).padStart(2, '0')
}

function field(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value)
    ? shown(value)
    : shortened(JSON.stringify(value) ?? '')
}

function shown(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value) ?? ''
  // A line stays one line, and short, whatever a name on the wire was made to contain.
  return shortened(value).replaceAll(/\p{Cc}/gu, (char) => JSON.stringify(char).slice(1, -1))
}

function shortened(text: string): string {
  return text.length > mostFieldLength ? `${text.slice(0, mostFieldLength)}…` : text
}
