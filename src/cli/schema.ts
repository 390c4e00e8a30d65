import { configJsonSchema } from '../mechanisms/config/index.ts'

/** `sluice schema`: the JSON Schema of the configuration on standard output. */
export function schema(): void {
  process.stdout.write(`${JSON.stringify(configJsonSchema(), undefined, 2)}\n`)
}
