import type { PortRange, TokenGrant } from '../../../mechanisms/frp-config/index.ts'
import type { NewProxy } from '../../../protocols/frp/index.ts'
import { ByteBucket } from '../../../mechanisms/streams/index.ts'
import type { Clock } from '../../../foundation/clock.ts'
import { TunnelError } from '../errors.ts'
import { Quota } from './quota.ts'

/** What the holders of one token may do, and what they use of it together. */
export class Rights {
  readonly #clock: Clock
  #grant: TokenGrant | undefined
  readonly clients: Quota
  readonly proxies: Quota
  readonly ports: Quota
  readonly connections: Quota
  /** What all their payload shares; undefined: not limited. */
  bucket: ByteBucket | undefined

  constructor(grant: TokenGrant | undefined, clock: Clock) {
    this.#clock = clock
    const of = grant === undefined ? '' : ` of the token [${grant.name}]`
    this.clients = new Quota(`clients${of}`, 0)
    this.proxies = new Quota(`proxies${of}`, 0)
    this.ports = new Quota(`ports${of}`, 0)
    this.connections = new Quota(`connections${of}`, 0)
    this.configure(grant)
  }

  /** Puts other rights in force for what comes from now on. */
  configure(grant: TokenGrant | undefined): void {
    const before = this.#grant?.bandwidthLimit ?? 0
    this.#grant = grant
    this.clients.limit = grant?.maxClients ?? 0
    this.proxies.limit = grant?.maxProxies ?? 0
    this.ports.limit = grant?.maxPorts ?? 0
    this.connections.limit = grant?.maxConnections ?? 0
    const limit = grant?.bandwidthLimit ?? 0
    if (limit !== before) this.bucket = limit > 0 ? new ByteBucket(limit, this.#clock) : undefined
  }

  get allowPorts(): readonly PortRange[] | undefined {
    return this.#grant?.allowPorts
  }

  /**
   * @param user of the login
   * @throws TunnelError TUNNEL_FORBIDDEN
   */
  checkProxy(request: NewProxy, type: string, user: string, domains: readonly string[]): void {
    const grant = this.#grant
    if (grant === undefined) return
    const { allowProxyTypes, allowDomains, users } = grant
    if (allowProxyTypes !== undefined && !allowProxyTypes.some((allowed) => allowed === type)) {
      throw forbidden(`proxy type [${type}] is not allowed, allowed are ${allowProxyTypes.join(', ')}`)
    }
    // A user that the token was given to may not sit on the names of another one; names of who has no user have no prefix.
    if (users !== undefined && user !== '' && !request.proxy_name.startsWith(`${user}.`)) {
      throw forbidden(`proxy name [${request.proxy_name}] must begin with [${user}.]`)
    }
    for (const domain of domains) {
      if (allowDomains !== undefined && !allowDomains.some((allowed) => covers(allowed, domain))) {
        throw forbidden(`domain [${domain}] is not allowed, allowed are ${allowDomains.join(', ')}`)
      }
    }
  }
}

/** The rights of each token, made when the first of its clients comes. */
export class RightsTable {
  readonly #clock: Clock
  readonly #everything: Rights
  /** By name, which outlives a reload. */
  readonly #byName = new Map<string, Rights>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#everything = new Rights(undefined, clock)
  }

  of(grant: TokenGrant | undefined): Rights {
    if (grant === undefined) return this.#everything
    let rights = this.#byName.get(grant.name)
    if (rights === undefined) {
      rights = new Rights(grant, this.#clock)
      this.#byName.set(grant.name, rights)
    }
    return rights
  }

  /** Puts other grants in force. */
  configure(grants: readonly TokenGrant[]): void {
    const names = new Set(grants.map(({ name }) => name))
    for (const name of this.#byName.keys()) if (!names.has(name)) this.#byName.delete(name)
    for (const grant of grants) this.#byName.get(grant.name)?.configure(grant)
  }
}

function covers(allowed: string, domain: string): boolean {
  const wanted = allowed.toLowerCase()
  return wanted === '*' || wanted === domain || (wanted.startsWith('*.') && domain.endsWith(wanted.slice(1)))
}

function forbidden(message: string): TunnelError {
  return new TunnelError('TUNNEL_FORBIDDEN', message, { side: 'client' })
}
