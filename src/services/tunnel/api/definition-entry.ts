type Json = Readonly<Record<string, unknown>>

/**
 * What a definition says, as an entry of the configuration file would: its block, with name and type.
 *
 * @throws Error, in frp's words, unless there is a name, a known type and exactly that block
 */
export function entryOf(kind: 'proxy' | 'visitor', definition: unknown): Json & { readonly name: string } {
  const { name, type, ...blocks } = objectOf(definition, 'a definition')
  if (typeof name !== 'string' || name.trim() === '') throw new Error(`${kind} name is required`)
  const types = TYPES[kind]
  if (typeof type !== 'string' || !types.includes(type)) {
    throw new Error(`invalid ${kind} type: ${typeof type === 'string' ? type : ''}`)
  }
  const given = types.filter((one) => blocks[one] !== undefined && blocks[one] !== null)
  const [block] = given
  if (block === undefined || given.length > 1) throw new Error(`exactly one ${kind} type block is required`)
  if (block !== type) throw new Error(`${kind} type block "${block}" does not match type "${type}"`)
  return { ...objectOf(blocks[block], `block "${block}"`), name, type }
}

const TYPES: Readonly<Record<'proxy' | 'visitor', readonly string[]>> = {
  proxy: ['tcp', 'udp', 'http', 'https', 'tcpmux', 'stcp', 'sudp', 'xtcp'],
  visitor: ['stcp', 'sudp', 'xtcp'],
}

function objectOf(value: unknown, what: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  throw new Error(`${what} must be an object`)
}
