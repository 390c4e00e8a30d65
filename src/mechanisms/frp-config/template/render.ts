import { FrpConfigError, FrpConfigErrorCode } from '../errors.ts'
import { placeOf, TemplateError } from './error.ts'
import { callFunction } from './functions.ts'
import { parseTemplate } from './parse.ts'
import type { Command, Pipe, TemplateNode, Term } from './tree.ts'
import {
  isList,
  isMap,
  isTrue,
  kindOf,
  printed,
  sortedEntries,
  TemplateStruct,
  type TemplateValue,
} from './values.ts'

/** Characters of the text that comes out, and of any text made on the way. */
const MAX_OUTPUT = 8 * 1024 * 1024
/** Nodes and terms carried out; a file with 65,536 proxies needs about a third. */
const MAX_STEPS = 2_000_000

export interface TemplateOptions {
  /** `.Envs` of the template. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Names the text in errors. @defaultValue empty */
  readonly file?: string
}

/**
 * Carries out the `{{ }}` actions of a configuration as frp does with Go's text/template: `.Envs.NAME`,
 * parseNumberRange, parseNumberRangePair, if, else, with, range, break, continue, variables, pipelines, comparisons,
 * and, or, not, len, index, print, printf, println. Bounded in steps and size.
 * @throws FrpConfigError FRP_CONFIG_TEMPLATE, with line and column
 */
export function renderTemplate(text: string, options: TemplateOptions): string {
  try {
    return new Renderer(options.env).render(parseTemplate(text))
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    const { line, column } = placeOf(text, error.at)
    const message = `template, column ${column}: ${error.message}`
    throw new FrpConfigError(
      [{ code: FrpConfigErrorCode.template, file: options.file ?? '', line, key: '', message }],
      error,
    )
  }
}

/** How the nodes of a block ended. */
type Flow = 'on' | 'break' | 'continue'

class Renderer {
  readonly #variables: { readonly name: string; value: TemplateValue }[]
  readonly #output: string[] = []
  #outputLength = 0
  #steps = 0

  constructor(env: TemplateOptions['env']) {
    const entries = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
    this.#variables = [{ name: '$', value: new TemplateStruct({ Envs: new Map(entries) }) }]
  }

  render(nodes: readonly TemplateNode[]): string {
    this.#run(nodes, this.#variables[0]?.value)
    return this.#output.join('')
  }

  #run(nodes: readonly TemplateNode[], dot: TemplateValue): Flow {
    for (const node of nodes) {
      const flow = this.#node(node, dot)
      if (flow !== 'on') return flow
    }
    return 'on'
  }

  #node(node: TemplateNode, dot: TemplateValue): Flow {
    switch (node.kind) {
      case 'text':
        this.#write(node.text, 0)
        return 'on'
      case 'action': {
        const value = this.#pipe(node.pipe, dot)
        if (node.pipe.variables.length === 0) {
          this.#write(value === undefined ? '<no value>' : printed(value), node.at)
        }
        return 'on'
      }
      case 'break':
      case 'continue':
        return node.kind
      case 'range':
        return this.#scoped(() => this.#range(node, dot))
      case 'if':
      case 'with':
        return this.#scoped(() => {
          const value = this.#pipe(node.pipe, dot)
          if (!isTrue(value)) return this.#run(node.otherwise, dot)
          return this.#run(node.body, node.kind === 'with' ? value : dot)
        })
      default:
        return node satisfies never
    }
  }

  #range(node: TemplateNode & { readonly kind: 'if' | 'with' | 'range' }, dot: TemplateValue): Flow {
    const { variables, assigns } = node.pipe
    const over = this.#pipeValue(node.pipe, dot)
    const names = variables.length === 1 ? [undefined, variables[0]] : variables
    let isEmpty = true
    for (const entry of this.#entries(over, node.at)) {
      isEmpty = false
      const flow = this.#scoped(() => {
        for (const [index, name] of names.entries()) {
          if (name !== undefined) this.#set(name, entry[index], assigns)
        }
        return this.#run(node.body, entry[1])
      })
      if (flow === 'break') break
    }
    return isEmpty ? this.#run(node.otherwise, dot) : 'on'
  }

  *#entries(over: TemplateValue, at: number): Generator<readonly [TemplateValue, TemplateValue]> {
    if (over === undefined || over === null) return
    if (typeof over === 'number') for (let index = 0; index < over; index++) yield [index, index]
    else if (isMap(over)) yield* sortedEntries(over)
    else if (isList(over)) yield* over.entries()
    else throw new TemplateError(`range cannot go over ${kindOf(over)}`, at)
  }

  /** Variables declared within are gone behind it. */
  #scoped(run: () => Flow): Flow {
    const outer = this.#variables.length
    const flow = run()
    this.#variables.length = outer
    return flow
  }

  #pipe(pipe: Pipe, dot: TemplateValue): TemplateValue {
    const value = this.#pipeValue(pipe, dot)
    for (const name of pipe.variables) this.#set(name, value, pipe.assigns)
    return value
  }

  #pipeValue(pipe: Pipe, dot: TemplateValue): TemplateValue {
    const [first, ...rest] = pipe.commands
    return rest.reduce<TemplateValue>(
      (value, command) => this.#command(command, dot, [value]),
      this.#command(first, dot, []),
    )
  }

  /** `piped` is what stands left of the bar; it becomes the last argument. */
  #command([first, ...rest]: Command, dot: TemplateValue, piped: readonly TemplateValue[]): TemplateValue {
    if (first.kind === 'function') return this.#call(first, rest, dot, piped)
    if (rest.length > 0 || piped.length > 0) {
      throw new TemplateError('a value that is no function takes no further values', first.at)
    }
    if (first.kind === 'literal' && first.value === null)
      throw new TemplateError('nil is no value here', first.at)
    return this.#term(first, dot)
  }

  #call(
    term: Term & { readonly kind: 'function' },
    rest: readonly Term[],
    dot: TemplateValue,
    piped: readonly TemplateValue[],
  ): TemplateValue {
    this.#step(term.at)
    const { name, at } = term
    if (name === 'and' || name === 'or') {
      let value: TemplateValue
      let isFirst = true
      for (const next of rest) {
        value = this.#term(next, dot)
        isFirst = false
        if (isTrue(value) === (name === 'or')) return value
      }
      if (isFirst && piped.length === 0) throw new TemplateError(`${name} takes 1 or more values, not 0`, at)
      return piped.length > 0 ? piped[0] : value
    }
    const values = [...rest.map((next) => this.#term(next, dot)), ...piped]
    let result: TemplateValue
    try {
      result = callFunction(name, values)
    } catch (error) {
      throw new TemplateError(error instanceof Error ? error.message : String(error), at)
    }
    if (typeof result === 'string') {
      if (result.length > MAX_OUTPUT) throw new TemplateError(`${name} makes a text that is too long`, at)
      this.#steps += result.length >>> 6
    }
    return result
  }

  #term(term: Term, dot: TemplateValue): TemplateValue {
    this.#step(term.at)
    switch (term.kind) {
      case 'literal':
        return term.value
      case 'function':
        return this.#call(term, [], dot, [])
      case 'chain':
        return term.fields.reduce(
          (value, field) => fieldOf(value, field, term.at),
          this.#base(term.base, dot),
        )
      default:
        return term satisfies never
    }
  }

  #base(base: (Term & { readonly kind: 'chain' })['base'], dot: TemplateValue): TemplateValue {
    if (base === '.') return dot
    return 'pipe' in base ? this.#pipe(base.pipe, dot) : this.#variable(base.variable)?.value
  }

  #variable(name: string): { value: TemplateValue } | undefined {
    return this.#variables.findLast((variable) => variable.name === name)
  }

  #set(name: string, value: TemplateValue, assigns: boolean): void {
    const variable = assigns ? this.#variable(name) : undefined
    if (variable === undefined) this.#variables.push({ name, value })
    else variable.value = value
  }

  #step(at: number): void {
    if (++this.#steps > MAX_STEPS)
      throw new TemplateError(`the template takes more than ${MAX_STEPS} steps`, at)
  }

  #write(text: string, at: number): void {
    this.#step(at)
    this.#outputLength += text.length
    if (this.#outputLength > MAX_OUTPUT) {
      throw new TemplateError(`the template makes more than ${MAX_OUTPUT} characters`, at)
    }
    this.#output.push(text)
  }
}

function fieldOf(value: TemplateValue, field: string, at: number): TemplateValue {
  if (isMap(value)) return value.get(field)
  if (value instanceof TemplateStruct) {
    if (value.fields.has(field)) return value.fields.get(field)
    throw new TemplateError(`there is no .${field}; allowed: ${[...value.fields.keys()].join(', ')}`, at)
  }
  throw new TemplateError(`${kindOf(value)} has no field .${field}`, at)
}
