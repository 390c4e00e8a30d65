/** What the parser makes of a template. `at` is an offset in its text. */
export type TemplateNode =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly pipe: Pipe; readonly at: number }
  | {
      readonly kind: 'if' | 'with' | 'range'
      readonly pipe: Pipe
      readonly body: readonly TemplateNode[]
      readonly otherwise: readonly TemplateNode[]
      readonly at: number
    }
  | { readonly kind: 'break' | 'continue'; readonly at: number }

/** `$i, $v := first | second`. */
export interface Pipe {
  /** Names with their `$`. */
  readonly variables: readonly string[]
  /** `=` instead of `:=`. */
  readonly assigns: boolean
  readonly commands: readonly [Command, ...Command[]]
}

/** A value, or a function with its arguments. */
export type Command = readonly [Term, ...Term[]]

export type Term =
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null; readonly at: number }
  | { readonly kind: 'function'; readonly name: FunctionName; readonly at: number }
  | {
      readonly kind: 'chain'
      /** What the fields are taken from: the dot, a variable or a pipe in parentheses. */
      readonly base: '.' | { readonly variable: string } | { readonly pipe: Pipe }
      readonly fields: readonly string[]
      readonly at: number
    }

export const FUNCTION_NAMES = [
  'and',
  'eq',
  'ge',
  'gt',
  'index',
  'le',
  'len',
  'lt',
  'ne',
  'not',
  'or',
  'parseNumberRange',
  'parseNumberRangePair',
  'print',
  'printf',
  'println',
] as const

export type FunctionName = (typeof FUNCTION_NAMES)[number]
