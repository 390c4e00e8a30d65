import { isIP } from 'node:net'
import { TurnError } from './errors.ts'
import { defaultLimits, type TurnLimits, type TurnListenerOptions } from './options.ts'

/** Fills in the defaults. @throws TURN_BAD_OPTION for what is no number from 0 */
export function checkLimits(given: Partial<TurnLimits> = {}): TurnLimits {
  const limits = { ...defaultLimits, ...given }
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isFinite(value) || value < (mayBeZero.has(name) ? 0 : 1)) {
      const least = mayBeZero.has(name) ? '0 (no limit) or more' : '1 or more'
      throw new TurnError('TURN_BAD_OPTION', `limits.${name} is ${value}: must be ${least}`)
    }
  }
  if (limits.maxLifetimeSeconds < limits.lifetimeSeconds) {
    throw new TurnError(
      'TURN_BAD_OPTION',
      `limits.maxLifetimeSeconds is ${limits.maxLifetimeSeconds}: must not be less than lifetimeSeconds, ${limits.lifetimeSeconds}`,
    )
  }
  for (const name of ['bytesPerSecond', 'userBytesPerSecond', 'totalBytesPerSecond'] as const) {
    if (limits[name] > 0 && limits[name] < leastByteRate) {
      const message = `limits.${name} is ${limits[name]}: must be 0 (no limit) or ${leastByteRate} and more`
      throw new TurnError('TURN_BAD_OPTION', message)
    }
  }
  return limits
}

/** @throws TURN_BAD_OPTION, TURN_UNSUPPORTED */
export function checkListeners(listeners: readonly TurnListenerOptions[]): void {
  const names = new Set<string>()
  for (const listener of listeners) {
    if (names.has(listener.name)) throw badOption(listener, 'name', 'each listener must have its own')
    names.add(listener.name)
    checkListener(listener)
  }
}

function checkListener(listener: TurnListenerOptions): void {
  const { transport, certificate, relays, listen, proxyProtocolFrom, onHttp } = listener
  if ((transport === 'tls' || transport === 'dtls') && certificate === undefined) {
    throw badOption(listener, 'certificate', `${transport} needs one, with its key`)
  }
  if (transport !== 'tcp' && transport !== 'tls') {
    if (proxyProtocolFrom !== undefined) {
      throw badOption(listener, 'proxyProtocolFrom', 'only tcp and tls have a PROXY protocol')
    }
    if (onHttp !== undefined) throw badOption(listener, 'onHttp', 'only tcp and tls can be shared with HTTP')
  }
  if (listen.host !== undefined && isIP(listen.host) === 0) {
    throw badOption(listener, 'listen.host', `"${listen.host}" is no literal address`)
  }
  const families = new Set<number>()
  for (const { address, advertised = address, ports = { from: 49_152, to: 65_535 } } of relays) {
    const family = isIP(address)
    if (family === 0 || isIP(advertised) !== family) {
      throw badOption(
        listener,
        'relays',
        `"${address}" and "${advertised}" must be literal addresses of one family`,
      )
    }
    if (families.has(family)) throw badOption(listener, 'relays', `more than one for IPv${family}`)
    families.add(family)
    // Below 1024 are other services' (RFC 8656 §7.2).
    if (!(ports.from >= 1024 && ports.to <= 65_535 && ports.from <= ports.to)) {
      throw badOption(listener, 'relays', `ports ${ports.from} to ${ports.to}: must be within 1024 and 65535`)
    }
  }
}

function badOption({ name }: TurnListenerOptions, option: string, reason: string): TurnError {
  return new TurnError('TURN_BAD_OPTION', `listener "${name}": ${option}: ${reason}`)
}

const mayBeZero: ReadonlySet<string> = new Set([
  'maxPerUser',
  'maxPerAddress',
  'newPeersPerSecond',
  'packetsPerSecond',
  'bytesPerSecond',
  'userBytesPerSecond',
  'totalBytesPerSecond',
  'strangerRepliesPerSecond',
  'totalStrangerRepliesPerSecond',
  'attemptsPerSecond',
])

/** A datagram must fit into one second's worth. */
const leastByteRate = 65_536
