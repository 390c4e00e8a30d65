import { TemplateError } from './error.ts'

/**
 * Cuts a template into text and actions, and actions into tokens, by the rules of Go's text/template: `{{- ` and ` -}}`
 * take the white space beside them away, comments stand alone in their action.
 */
export type TemplatePart =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly tokens: readonly Token[]; readonly at: number }

export type TokenKind =
  | 'word'
  | 'field'
  | 'dot'
  | 'variable'
  | 'text'
  | 'number'
  | 'pipe'
  | 'open'
  | 'close'
  | 'declare'
  | 'assign'
  | 'comma'

export interface Token {
  readonly kind: TokenKind
  /** The name without its mark, the value of a text, the digits of a number. */
  readonly value: string
  readonly at: number
  /** Whether white space stands before it; `$x.y` is one operand, `$x .y` are two. */
  readonly spaced: boolean
}

export function templateParts(source: string): TemplatePart[] {
  const parts: TemplatePart[] = []
  let at = 0
  let trimsLeft = false
  while (at < source.length) {
    const open = source.indexOf('{{', at)
    const isLast = open === -1
    const trimsRight = !isLast && /^-\s/.test(source.slice(open + 2, open + 4))
    const raw = source.slice(at, isLast ? source.length : open)
    const text = trimmed(raw, trimsLeft, trimsRight)
    if (text !== '') parts.push({ kind: 'text', text })
    if (isLast) break
    const action = actionAt(source, open, open + (trimsRight ? 4 : 2))
    if (action.tokens !== undefined) parts.push({ kind: 'action', tokens: action.tokens, at: open })
    at = action.end
    trimsLeft = action.trims
  }
  return parts
}

interface Action {
  /** Absent for a comment. */
  readonly tokens?: readonly Token[]
  readonly end: number
  /** Whether the white space behind it goes. */
  readonly trims: boolean
}

function actionAt(source: string, open: number, start: number): Action {
  if (source.startsWith('/*', start)) {
    const end = source.indexOf('*/', start + 2)
    if (end === -1) throw new TemplateError('comment is not closed', open)
    const close = /^(?:}}|\s-}})/.exec(source.slice(end + 2, end + 6))
    if (close === null) throw new TemplateError('a comment must stand alone in its action', open)
    return { end: end + 2 + close[0].length, trims: close[0].length > 2 }
  }
  const tokens: Token[] = []
  let at = start
  let spaced = true
  for (;;) {
    if (at >= source.length) throw new TemplateError('action is not closed', open)
    if (source.startsWith('}}', at)) return { tokens, end: at + 2, trims: false }
    if (/\s/.test(source.charAt(at))) {
      if (source.startsWith('-}}', at + 1)) return { tokens, end: at + 4, trims: true }
      spaced = true
      at++
      continue
    }
    const { token, end } = tokenAt(source, at, spaced)
    const last = tokens.at(-1)
    // Two operands that touch are none: `.Envs.A"b"`, `12abc`.
    if (!spaced && last !== undefined && isOperand(last) && isOperand(token) && token.kind !== 'field') {
      throw new TemplateError(`unexpected ${JSON.stringify(source.slice(at, end))}`, at)
    }
    tokens.push(token)
    at = end
    spaced = false
  }
}

const operands: ReadonlySet<TokenKind> = new Set(['word', 'field', 'dot', 'variable', 'text', 'number'])

function isOperand(token: Token): boolean {
  return operands.has(token.kind)
}

const marks: readonly (readonly [string, TokenKind])[] = [
  [':=', 'declare'],
  ['=', 'assign'],
  [',', 'comma'],
  ['|', 'pipe'],
  ['(', 'open'],
  [')', 'close'],
]

function tokenAt(source: string, at: number, spaced: boolean): { token: Token; end: number } {
  const found = (kind: TokenKind, value: string, length: number): { token: Token; end: number } => ({
    token: { kind, value, at, spaced },
    end: at + length,
  })
  for (const [mark, kind] of marks) if (source.startsWith(mark, at)) return found(kind, mark, mark.length)
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(source)?.[0]
  }
  const number = match(/[+-]?[0-9][\w.]*/y)
  if (number !== undefined) return found('number', number, number.length)
  const name = match(/[\p{L}_][\p{L}\p{Nd}_]*/uy)
  if (name !== undefined) return found('word', name, name.length)
  const variable = match(/\$[\p{L}\p{Nd}_]*/uy)
  if (variable !== undefined) return found('variable', variable, variable.length)
  const field = match(/\.[\p{L}_][\p{L}\p{Nd}_]*/uy)
  if (field !== undefined) return found('field', field.slice(1), field.length)
  switch (source.charAt(at)) {
    case '.':
      return found('dot', '.', 1)
    case '`': {
      const end = source.indexOf('`', at + 1)
      if (end === -1) throw new TemplateError('raw text is not closed', at)
      return found('text', source.slice(at + 1, end), end + 1 - at)
    }
    case '"': {
      const quoted = match(/"(?:[^"\\\n]|\\.)*"/y)
      if (quoted === undefined) throw new TemplateError('text is not closed', at)
      return found('text', unquoted(quoted.slice(1, -1), at), quoted.length)
    }
    default: {
      const character = String.fromCodePoint(source.codePointAt(at) ?? 0)
      throw new TemplateError(`unexpected ${JSON.stringify(character)}`, at)
    }
  }
}

const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
}

function unquoted(text: string, at: number): string {
  return text.replaceAll(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.?))/gs,
    (whole, hex?: string, short?: string, long?: string, octal?: string, letter: string = '') => {
      const digits = hex ?? short ?? long
      const code = digits === undefined ? Number.parseInt(octal ?? '', 8) : Number.parseInt(digits, 16)
      if (code <= 0x10_ff_ff) return String.fromCodePoint(code)
      const plain = escapes[letter]
      if (plain === undefined) throw new TemplateError(`${JSON.stringify(whole)} is no escape`, at)
      return plain
    },
  )
}

/** By hand: a pattern that looks for the end of a run of white space takes the square of its length. */
function trimmed(text: string, left: boolean, right: boolean): string {
  let start = 0
  let end = text.length
  if (left) while (isSpace(text.charAt(start))) start++
  if (right) while (end > start && isSpace(text.charAt(end - 1))) end--
  return text.slice(start, end)
}

function isSpace(character: string): boolean {
  return character === ' ' || character === '\t' || character === '\r' || character === '\n'
}
