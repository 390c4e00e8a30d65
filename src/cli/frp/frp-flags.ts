import { type Command, Option } from 'commander'
import { flagKey, type FlagValues, type FrpFlag } from '../../mechanisms/frp-config/index.ts'

/**
 * Arguments of frps and frpc as commander takes them: frp's flags may be written with `_` or `-`, and a switch takes its value
 * only after `=`.
 *
 * @param flags of every command that may be meant
 */
export function normalizedArguments(argv: readonly string[], flags: readonly FrpFlag[]): string[] {
  const switches = new Set([
    'strict-config',
    ...flags.filter(({ kind }) => kind === 'flag').map(({ name }) => flagKey(name)),
  ])
  return argv.map((argument) => {
    const match = /^--([^=]+)(=.*)?$/s.exec(argument)
    if (match === null) return argument
    const name = flagKey(match[1] ?? '')
    const value = match[2] ?? (switches.has(name) ? '=true' : '')
    return `--${name}${value}`
  })
}

/** Declares flags at a command. */
export function addFlags(command: Command, flags: readonly FrpFlag[]): Command {
  for (const { name, short, kind, description } of flags) {
    const long = `--${flagKey(name)} <${kind === 'flag' ? 'boolean' : kind}>`
    const option = new Option(short === undefined ? long : `-${short}, ${long}`, description)
    if (kind === 'list' || kind === 'map')
      option.argParser<string[]>((value, before) => [...(before ?? []), value])
    command.addOption(option)
  }
  return command
}

/** What was given of the flags, by their names. */
export function flagValues(command: Command, flags: readonly FrpFlag[]): FlagValues {
  const given: Record<string, unknown> = command.optsWithGlobals()
  const values: Record<string, string | readonly string[] | undefined> = {}
  for (const { name } of flags) {
    const value = given[camelCase(flagKey(name))]
    if (typeof value === 'string' || Array.isArray(value)) values[name] = value
  }
  return values
}

function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}
