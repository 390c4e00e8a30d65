/**
 * The gateway's TURN server by itself, from `dist`, as a subject beside coturn and pion on equal terms: long-term
 * credentials bench/bench, every peer on loopback, no limits, and budgets that let all of a flood through.
 *
 * Arguments: the engine, `native` or `node`. Prints its own port.
 */
import type { Datapath, DatapathOptions } from '../../src/mechanisms/datapath/index.ts'
import type { TurnServerOptions } from '../../src/services/turn/options.ts'

interface Built {
  readonly createDatapath: (options: DatapathOptions) => Datapath
  readonly StaticUsers: new (
    users: readonly { readonly username: string; readonly password: string }[],
  ) => TurnServerOptions['credentials']
  readonly TurnServer: new (
    options: TurnServerOptions,
  ) => { start(): Promise<void>; readonly ports: ReadonlyMap<string, number> }
}

const { createDatapath, StaticUsers, TurnServer } = {
  ...(await built('mechanisms/datapath')),
  ...(await built('services/turn')),
} as Built

const unlimited = { packetsPerSecond: 10_000_000, burst: 1_000_000 }
const datapath = createDatapath({
  engine: process.argv[2] === 'native' ? 'native' : 'node',
  strangersPerEndpoint: unlimited,
  strangers: unlimited,
  knownPerEndpoint: unlimited,
  known: unlimited,
})
const isLoopback = (address: string): boolean => address.startsWith('127.')

await datapath.start()
const server = new TurnServer({
  listeners: [
    {
      name: 'bench',
      transport: 'udp',
      listen: { host: '127.0.0.1', port: 0 },
      relays: [{ address: '127.0.0.1' }],
      peers: { admitsAddress: isLoopback, admits: isLoopback, onChange: () => () => {} },
    },
  ],
  credentials: new StaticUsers([{ username: 'bench', password: 'bench' }]),
  realm: 'bench',
  limits: {
    maxPerUser: 0,
    maxPerAddress: 1_000_000,
    packetsPerSecond: 0,
    newPeersPerSecond: 0,
    strangerRepliesPerSecond: 0,
    totalStrangerRepliesPerSecond: 0,
    attemptsPerSecond: 0,
  },
  datapath,
})
await server.start()

process.stdout.write(`${server.ports.get('bench')}\n`)
// Threads of the native engine keep no process up; this one ends with whoever started it.
process.stdin.resume().on('end', () => process.exit())

/** A module as it was compiled, not as it is written: that is what users run. */
async function built(folder: string): Promise<object> {
  return (await import(new URL(`../../dist/${folder}/index.js`, import.meta.url).href)) as object
}
