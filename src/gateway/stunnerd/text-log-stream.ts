/** Turns the JSON lines of the logger into readable ones: `12:34:56.789 turn INFO: listening port=3478`. */
export class TextLogStream {
  readonly #target: { write(line: string): void }

  constructor(target: { write(line: string): void }) {
    this.#target = target
  }

  write(line: string): void {
    this.#target.write(textOf(line))
  }
}

function textOf(line: string): string {
  const { level, time, component, msg, pid: _pid, ...fields } = JSON.parse(line) as Record<string, unknown>
  const clock = String(time).slice(11, 23)
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${field(value)}`)
  return `${clock} ${shown(component ?? 'stunnerd')} ${String(level).toUpperCase()}: ${shown(msg)}${rest.join('')}\n`
}

function field(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? shown(value) : JSON.stringify(value)
}

function shown(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value) ?? ''
  // A line stays one line, whatever a name on the wire was made to contain.
  return value.replaceAll(/\p{Cc}/gu, (char) => escaped(char))
}

function escaped(char: string): string {
  return char === '\n'
    ? '\\n'
    : char === '\r'
      ? '\\r'
      : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
}
