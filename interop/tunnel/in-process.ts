import { systemClock } from '../../src/foundation/clock.ts'
import { createDatapath } from '../../src/mechanisms/datapath/index.ts'
import { frpcConfigOf, frpsConfigOf } from '../../src/mechanisms/frp-config/index.ts'
import { createRegistry, silentLogger } from '../../src/mechanisms/telemetry/index.ts'
import {
  clientAuth,
  connectServer,
  serverAuth,
  TunnelClient,
  TunnelServer,
  TunnelStatistics,
} from '../../src/services/tunnel/index.ts'

/** Gives so many random bytes; undefined: the system's. */
export type Random = (length: number) => Uint8Array

/** A server in this process. */
export async function startServer(
  raw: object,
  random: Random,
): Promise<AsyncDisposable & { readonly server: TunnelServer }> {
  const { config } = frpsConfigOf(raw, { env: {} })
  const datapath = createDatapath({ engine: 'node' })
  await datapath.start()
  const server = new TunnelServer({
    config,
    auth: await serverAuth(config.auth, { clock: systemClock }),
    recorder: new TunnelStatistics({ file: '', log: silentLogger(), clock: systemClock }),
    datapath,
    clock: systemClock,
    logger: silentLogger(),
    registry: createRegistry('test'),
    random,
  })
  await server.start()
  return {
    server,
    [Symbol.asyncDispose]: async () => {
      await server.close()
      await datapath.close()
    },
  }
}

/** A client in this process, which logs in. */
export async function startClient(
  raw: object,
  random: Random,
): Promise<AsyncDisposable & { readonly client: TunnelClient }> {
  const { config } = frpcConfigOf(raw, { env: {} })
  const datapath = createDatapath({ engine: 'node' })
  await datapath.start()
  const client = new TunnelClient({
    config,
    auth: await clientAuth(config.auth, { clock: systemClock }),
    connect: ({ signal }) => connectServer(config, { clock: systemClock, logger: silentLogger(), signal }),
    datapath,
    clock: systemClock,
    logger: silentLogger(),
    random,
  })
  // A login that fails is seen by what does not come of it.
  void client.start().catch(() => undefined)
  return {
    client,
    [Symbol.asyncDispose]: async () => {
      await client.close()
      await datapath.close()
    },
  }
}
