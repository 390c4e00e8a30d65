import { TemplateError } from './error.ts'
import { type TemplatePart, templateParts, type Token, type TokenKind } from './tokens.ts'
import {
  type Command,
  FUNCTION_NAMES,
  type FunctionName,
  type Pipe,
  type TemplateNode,
  type Term,
} from './tree.ts'

/** Blocks and parentheses within one another; more are refused, as the parser recurses. */
const MAX_DEPTH = 100

/** @throws TemplateError */
export function parseTemplate(text: string): readonly TemplateNode[] {
  const parser = new Parser(templateParts(text))
  const { nodes, end } = parser.nodes(0)
  if (end !== undefined) throw new TemplateError(`unexpected {{${end.word}}}`, end.at)
  return nodes
}

/** What ends a block: `end`, or `else` with the rest of its action. */
interface BlockEnd {
  readonly word: 'end' | 'else'
  readonly rest: Action
  readonly at: number
}

const blocks = ['if', 'with', 'range'] as const
type Block = (typeof blocks)[number]

class Parser {
  readonly #parts: readonly TemplatePart[]
  #next = 0
  /** Names that may be used at this place, innermost last. */
  readonly #variables: string[] = ['$']
  #ranges = 0

  constructor(parts: readonly TemplatePart[]) {
    this.#parts = parts
  }

  nodes(depth: number): { readonly nodes: TemplateNode[]; readonly end: BlockEnd | undefined } {
    const nodes: TemplateNode[] = []
    for (let part = this.#parts[this.#next++]; part !== undefined; part = this.#parts[this.#next++]) {
      if (part.kind === 'text') {
        nodes.push(part)
        continue
      }
      const action = new Action(part.tokens, part.at)
      const word = action.peekWord()
      switch (word) {
        case 'if':
        case 'with':
        case 'range':
          action.skip()
          nodes.push(this.#block(word, action, depth + 1))
          break
        case 'end':
        case 'else':
          action.skip()
          return { nodes, end: { word, rest: action, at: part.at } }
        case 'break':
        case 'continue':
          action.skip()
          action.expectEnd()
          if (this.#ranges === 0) throw new TemplateError(`{{${word}}} outside {{range}}`, part.at)
          nodes.push({ kind: word, at: part.at })
          break
        case 'define':
        case 'template':
        case 'block':
          throw new TemplateError(
            `{{${word}}} is not supported; allowed: values and pipelines, if, else, with, range, break, continue, end`,
            part.at,
          )
        case undefined:
        default: {
          const pipe = this.#pipe(action, 1, depth)
          action.expectEnd()
          nodes.push({ kind: 'action', pipe, at: part.at })
        }
      }
    }
    return { nodes, end: undefined }
  }

  #block(kind: Block, action: Action, depth: number): TemplateNode {
    const { at } = action
    if (depth > MAX_DEPTH) throw new TemplateError(`more than ${MAX_DEPTH} blocks within one another`, at)
    const outer = this.#variables.length
    const pipe = this.#pipe(action, kind === 'range' ? 2 : 1, depth, kind)
    action.expectEnd()
    if (kind === 'range') this.#ranges++
    const body = this.nodes(depth)
    if (kind === 'range') this.#ranges--
    const otherwise = this.#otherwise(kind, body.end, at, depth)
    this.#variables.length = outer
    return { kind, pipe, body: body.nodes, otherwise, at }
  }

  #otherwise(kind: Block, end: BlockEnd | undefined, at: number, depth: number): readonly TemplateNode[] {
    if (end === undefined) throw new TemplateError(`{{${kind}}} has no {{end}}`, at)
    if (end.word === 'end') {
      end.rest.expectEnd()
      return []
    }
    // `else if` is an `if` of its own in the `else`, and the same {{end}} ends both.
    const word = end.rest.peekWord()
    if (word !== undefined && word === kind && kind !== 'range') {
      end.rest.skip()
      return [this.#block(kind, end.rest, depth + 1)]
    }
    end.rest.expectEnd()
    const rest = this.nodes(depth)
    if (rest.end === undefined) throw new TemplateError(`{{${kind}}} has no {{end}}`, at)
    if (rest.end.word === 'else') throw new TemplateError('{{else}} behind {{else}}', rest.end.at)
    rest.end.rest.expectEnd()
    return rest.nodes
  }

  /** `maxVariables` is how many may be declared in front. */
  #pipe(action: Action, maxVariables: 1 | 2, depth: number, where = 'the action'): Pipe {
    const variables: string[] = []
    const assigns = this.#declarations(action, maxVariables, variables)
    const commands: Command[] = [this.#command(action, depth, where)]
    while (action.takes('pipe')) commands.push(this.#command(action, depth, 'the pipeline'))
    // Declared behind: `$x := $x` uses the outer one.
    if (!assigns) this.#variables.push(...variables)
    const [first, ...rest] = commands
    if (first === undefined) throw new TemplateError(`${where} has no value`, action.at)
    return { variables, assigns, commands: [first, ...rest] }
  }

  #declarations(action: Action, most: 1 | 2, variables: string[]): boolean {
    const [first, mark, second, lastMark] = [0, 1, 2, 3].map((offset) => action.peek(offset))
    if (first?.kind !== 'variable') return false
    const isPair = mark?.kind === 'comma' && second?.kind === 'variable'
    const end = isPair ? lastMark : mark
    if (end?.kind !== 'declare' && end?.kind !== 'assign') return false
    if (isPair && most === 1) throw new TemplateError('only {{range}} takes two variables', first.at)
    for (const name of isPair ? [first, second] : [first]) {
      if (end.kind === 'assign') this.#known(name)
      variables.push(name.value)
      action.skip()
      action.skip()
    }
    return end.kind === 'assign'
  }

  #command(action: Action, depth: number, where: string): Command {
    const terms: Term[] = []
    for (;;) {
      const token = action.peek(0)
      if (token === undefined || token.kind === 'pipe' || token.kind === 'close') break
      if (terms.length > 0 && !token.spaced) throw unexpected(token)
      terms.push(this.#term(action, depth))
    }
    const [first, ...rest] = terms
    if (first === undefined) throw new TemplateError(`${where} has no value`, action.at)
    return [first, ...rest]
  }

  #term(action: Action, depth: number): Term {
    const token = action.skip()
    if (token === undefined) throw new TemplateError('a value is missing', action.at)
    const { at, value } = token
    switch (token.kind) {
      case 'text':
        return { kind: 'literal', value, at }
      case 'number':
        return { kind: 'literal', value: wholeNumber(value, at), at }
      case 'word':
        return wordTerm(value, at)
      case 'variable':
        this.#known(token)
        return { kind: 'chain', base: { variable: value }, fields: fieldsBehind(action), at }
      case 'dot': {
        const next = action.peek(0)
        if (next !== undefined && !next.spaced && next.kind === 'field') throw unexpected(next)
        return { kind: 'chain', base: '.', fields: [], at }
      }
      case 'field':
        return { kind: 'chain', base: '.', fields: [value, ...fieldsBehind(action)], at }
      case 'open': {
        if (depth >= MAX_DEPTH) throw new TemplateError('too many parentheses within one another', at)
        const pipe = this.#pipe(action, 1, depth + 1, 'the parenthesis')
        if (!action.takes('close')) throw new TemplateError('parenthesis is not closed', at)
        return { kind: 'chain', base: { pipe }, fields: fieldsBehind(action), at }
      }
      case 'pipe':
      case 'close':
      case 'declare':
      case 'assign':
      case 'comma':
      default:
        throw unexpected(token)
    }
  }

  #known({ value, at }: Token): void {
    if (!this.#variables.includes(value))
      throw new TemplateError(`variable ${value} is not declared here`, at)
  }
}

/** The tokens of one action, taken one by one. */
class Action {
  readonly at: number
  readonly #tokens: readonly Token[]
  #next = 0

  constructor(tokens: readonly Token[], at: number) {
    this.#tokens = tokens
    this.at = at
  }

  peek(offset: number): Token | undefined {
    return this.#tokens[this.#next + offset]
  }

  peekWord(): string | undefined {
    const token = this.peek(0)
    return token?.kind === 'word' ? token.value : undefined
  }

  skip(): Token | undefined {
    return this.#tokens[this.#next++]
  }

  takes(kind: TokenKind): boolean {
    if (this.peek(0)?.kind !== kind) return false
    this.#next++
    return true
  }

  expectEnd(): void {
    const token = this.peek(0)
    if (token !== undefined) throw unexpected(token)
  }
}

function fieldsBehind(action: Action): string[] {
  const fields: string[] = []
  for (let next = action.peek(0); next?.kind === 'field' && !next.spaced; next = action.peek(0)) {
    fields.push(next.value)
    action.skip()
  }
  return fields
}

function wordTerm(value: string, at: number): Term {
  if (value === 'true' || value === 'false') return { kind: 'literal', value: value === 'true', at }
  if (value === 'nil') return { kind: 'literal', value: null, at }
  if (isFunctionName(value)) return { kind: 'function', name: value, at }
  throw new TemplateError(
    `function ${JSON.stringify(value)} is not supported; allowed: ${FUNCTION_NAMES.join(', ')}`,
    at,
  )
}

function isFunctionName(value: string): value is FunctionName {
  return (FUNCTION_NAMES as readonly string[]).includes(value)
}

function wholeNumber(text: string, at: number): number {
  const [, sign = '', digits = ''] = /^([+-]?)(.*)$/.exec(text.replaceAll('_', '')) ?? []
  const octal = /^0([0-7]+)$/.exec(digits)?.[1]
  const isWhole = /^(?:[0-9]+|0x[0-9a-f]+|0b[01]+|0o[0-7]+)$/i.test(digits)
  const value = isWhole ? Number(octal === undefined ? digits : `0o${octal}`) : Number.NaN
  if (!Number.isSafeInteger(value)) {
    throw new TemplateError(`${text} is not supported as a number; allowed: whole numbers`, at)
  }
  return sign === '-' ? -value : value
}

function unexpected(token: Token): TemplateError {
  return new TemplateError(`unexpected ${JSON.stringify(token.value)}`, token.at)
}
