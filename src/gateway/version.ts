import { readFileSync } from 'node:fs'

/** The version of the package that runs. */
export const version: string = packageVersion()

function packageVersion(): string {
  // The same relative path from src/gateway and from dist/gateway.
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const parsed: unknown = JSON.parse(text)
  if (
    typeof parsed === 'object' &&
    parsed !== null &&
    'version' in parsed &&
    typeof parsed.version === 'string'
  ) {
    return parsed.version
  }
  return '0.0.0'
}
