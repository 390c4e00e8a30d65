import type { SessionStore } from '../../../mechanisms/balancer/index.ts'
import { type UdpPeer, until } from '../../../mechanisms/datapath/udp-peer.testkit.ts'
import type { Remote } from '../../../mechanisms/datapath/index.ts'
import type { WebRtcOptions } from './options.ts'
import { SharedSessionStore } from './shared-session-store.testkit.ts'
import { check, FakeOrigin, TestGateway } from './webrtc.testkit.ts'

/** Gateways that share a store, and one origin that all know. */
export interface TestFleet {
  readonly shared: SharedSessionStore
  readonly origin: FakeOrigin
  readonly a: TestGateway
  readonly b: TestGateway
  readonly c: TestGateway
}

/** @param options of all of them, or made for each by its name and the store that it has */
export async function startFleet(
  options: Partial<WebRtcOptions> | ((name: string, store: SessionStore) => Partial<WebRtcOptions>) = {},
): Promise<TestFleet> {
  const shared = new SharedSessionStore()
  const origin = await FakeOrigin.start()
  const start = async (name: string): Promise<TestGateway> => {
    const sessionStore = shared.gateway(name)
    const own = typeof options === 'function' ? options(name, sessionStore) : options
    const gateway = await TestGateway.start({ sessionStore, ...own })
    await gateway.store.announce(origin.announcement())
    return gateway
  }
  return { shared, origin, a: await start('a'), b: await start('b'), c: await start('c') }
}

/** Sends a check through a gateway; resolves with the socket from which its origin got it. */
export async function checkThrough(
  client: UdpPeer,
  gateway: TestGateway,
  origin: FakeOrigin,
  username: string,
  options?: Parameters<typeof check>[1],
): Promise<Remote> {
  const request = check(username, options)
  await client.send(request, gateway.media)
  const { bytes, from } = await origin.udp.next()
  if (!bytes.equals(request)) throw new Error('the origin got something else')
  return from
}

/** Resolves when this gateway, and no other, serves the session. */
export async function servedBy(
  { shared }: Pick<TestFleet, 'shared'>,
  name: string,
  username: string,
  gateway: TestGateway,
  former?: TestGateway,
): Promise<void> {
  await until(
    () =>
      shared.ownerOf(username) === name &&
      gateway.service.listSessions().length === 1 &&
      (former === undefined || former.service.listSessions().length === 0),
    `gateway ${name} to serve`,
  )
}
