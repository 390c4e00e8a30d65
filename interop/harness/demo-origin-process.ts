/**
 * Runs a demo origin as a process of its own, so that a test can have several and kill one. Its one argument is the
 * URL of the registration API. Ends when its standard input does.
 */
import { systemClock } from '../../src/foundation/clock.ts'
import { createLogger } from '../../src/mechanisms/telemetry/index.ts'
import { DemoOrigin } from '../../src/services/demo/index.ts'

const [registerUrl = ''] = process.argv.slice(2)
const origin = new DemoOrigin({
  log: createLogger({ level: 'warn' }),
  clock: systemClock,
  registerUrl,
  heartbeatMs: 500,
})
await origin.start()
console.log(JSON.stringify({ msg: 'origin ready', ...origin.ports }))
process.stdin.resume()
process.stdin.on('end', () => {
  void origin.close().finally(() => process.exit(0))
})
