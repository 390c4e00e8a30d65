import { createLogger, PeerRules, StaticUsers, TurnServer } from 'sluice/turn'

const logger = createLogger()
const listen = { port: Number(process.env.PORT ?? 3478) }
const relays = [{ address: '0.0.0.0' }] // behind 1:1 NAT: { address: '10.0.0.5', advertised: '203.0.113.5' }
const peers = new PeerRules({ byDefault: 'public' }) // private networks and loopback are no peers
const server = new TurnServer({
  listeners: [
    { name: 'udp', transport: 'udp', listen, relays, peers },
    { name: 'tcp', transport: 'tcp', listen, relays, peers },
  ],
  credentials: new StaticUsers([{ username: 'change-me', password: 'change-me-too' }]),
  realm: 'example.org',
  events: { allocationCreated: ({ userId, relayed }) => logger.info({ userId, relayed }, 'allocation') },
  logger,
})
await server.start()
process.once('SIGINT', () => void server.close())
process.once('SIGTERM', () => void server.close({ graceMs: 10_000 }))
