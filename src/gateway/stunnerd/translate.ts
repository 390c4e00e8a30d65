import { networkInterfaces } from 'node:os'
import { isIPv6 } from 'node:net'
import type { Clock } from '../../foundation/clock.ts'
import {
  type CredentialSource,
  defaultLimits,
  NoCredentials,
  type PeerPolicy,
  type RelayOptions,
  StaticUsers,
  TimeLimited,
  type TurnLimits,
  type TurnListenerOptions,
} from '../../services/turn/index.ts'
import {
  LISTENER_PROTOCOLS,
  type StunnerdAuth,
  type StunnerdConfig,
  type StunnerdListener,
} from './config.ts'

/**
 * Bounds that differ from ours. Behind a load balancer many clients share one address, so nothing is counted by address but
 * what strangers try and are told; and whoever relays a tunnel may send as fast as the machine can.
 */
export const stunnerdLimits: Partial<TurnLimits> = {
  maxPerAddress: defaultLimits.maxAllocations,
  maxConnectionsPerAddress: defaultLimits.maxConnections,
  packetsPerSecond: 0,
  strangerRepliesPerSecond: 2000,
  attemptsPerSecond: 2000,
}

/** The relay ports of STUNner's `v1alpha1`; its `v1` has the system choose. Twice as many as ours by default. */
const RELAY_PORTS = { from: 32_768, to: 65_535 }

/** The addresses that this machine has at present. */
export type LocalAddresses = () => ReadonlySet<string>

export const machineAddresses: LocalAddresses = () =>
  new Set(Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address)))

/** The listener of a TURN server that a listener of `stunnerd` stands for. */
export function turnListenerOf(
  listener: StunnerdListener,
  { clusters }: Pick<StunnerdConfig, 'clusters'>,
  peers: PeerPolicy,
  localAddresses: LocalAddresses,
): TurnListenerOptions {
  const { name, protocol, port, certificate, routes } = listener
  const hasTcp = clusters.some((cluster) => cluster.protocol === 'tcp' && routes.includes(cluster.name))
  return {
    name,
    transport: LISTENER_PROTOCOLS[protocol],
    // Its address is what clients are told, and need not be one of this machine.
    listen: { port },
    relays: [relayOf(listener, localAddresses())],
    peers,
    relayTransports: hasTcp ? ['udp', 'tcp'] : ['udp'],
    ...(certificate !== undefined && { certificate }),
  }
}

function relayOf({ address, relayPorts }: StunnerdListener, local: ReadonlySet<string>): RelayOptions {
  const { from, to } = relayPorts ?? RELAY_PORTS
  // STUNner's own example begins at 1; the lower ports are other services' (RFC 8656 §7.2).
  const ports = { from: Math.max(1024, from), to }
  const wildcard = isIPv6(address) ? '::' : '0.0.0.0'
  if (address === wildcard || local.has(address)) return { address, ports }
  return { address: wildcard, advertised: address, ports }
}

/** Who may have allocations. */
export function credentialsOf(auth: StunnerdAuth, clock: Clock): CredentialSource {
  if (auth.type === 'none') return new NoCredentials()
  if (auth.type === 'ephemeral') return new TimeLimited({ secrets: [auth.secret], clock })
  return new StaticUsers([{ username: auth.username, password: auth.password }])
}
