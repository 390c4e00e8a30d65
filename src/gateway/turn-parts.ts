import { randomInt } from 'node:crypto'
import { type Clock, systemClock } from '../foundation/clock.ts'
import { errorCode, SluiceError } from '../foundation/errors.ts'
import type { TurnConfig, TurnListenerConfig, TurnPeersConfig } from '../mechanisms/config/index.ts'
import { type Certificate, CertificateFiles, parseListenText } from '../mechanisms/net/index.ts'
import { type Logger, silentLogger } from '../mechanisms/telemetry/index.ts'
import {
  CredentialChain,
  OAuth,
  opaqueString,
  opaqueStringRefusal,
  PeerRules,
  type Redirect,
  ResolvedNames,
  StaticUsers,
  TimeLimited,
  type TurnListenerOptions,
  TurnServer,
  type TurnServerOptions,
  Webhook,
} from '../services/turn/index.ts'

/** What a `[turn]` section says of a server, made and running, and how it is given up. */
export interface TurnParts {
  readonly settings: Pick<
    TurnServerOptions,
    'listeners' | 'credentials' | 'realm' | 'mobility' | 'security' | 'limits'
  > & { readonly redirect: Redirect }
  /** Allocations that a user may hold, where something is said of this one. */
  readonly maxAllocations: (userId: string) => number | undefined
  readonly close: () => Promise<void>
}

/** What parts are made with. */
export interface TurnPartsResources {
  readonly clock: Clock
  readonly logger: Logger
  /** Follows the DNS names in rules about peers. */
  readonly names: ResolvedNames
  readonly onHttp: NonNullable<TurnListenerOptions['onHttp']>
  /** Told of the certificate that files of a listener have now, after the first. */
  readonly onCertificate: (listener: string, certificate: Certificate) => void
}

/**
 * Makes the parts: reads certificates, and follows them and the names in rules from now on.
 *
 * @throws NET_BAD_CERTIFICATE, PEERS_BAD_RULE, PEERS_BAD_OPTION, PEERS_TOO_MANY_NAMES, TURN_CREDENTIAL_BAD_OPTION,
 * TURN_BAD_OPTION; each message begins with the key
 */
export async function makeTurnParts(config: TurnConfig, resources: TurnPartsResources): Promise<TurnParts> {
  const closers: Closer[] = []
  const close = async (): Promise<void> => {
    for (const end of closers.splice(0).toReversed()) await end()
  }
  try {
    const listeners = await listenersOf(config, resources, closers)
    const credentials = credentialsOf(config, resources, closers)
    const { mobility, security, limits } = config
    const redirect = redirectTo(config.alternateServers)
    const settings = { listeners, credentials, realm: realmOf(config), mobility, security, limits, redirect }
    return { settings, maxAllocations: (userId) => credentials.maxAllocations(userId), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Sends clients to one of these servers, whichever has their address family; to none where there is none. */
function redirectTo(servers: TurnConfig['alternateServers']): Redirect {
  const known = servers.map(({ address, port, domain }) => ({
    address,
    port,
    ...(domain !== undefined && { domain }),
  }))
  return (client) => {
    const fitting = known.filter(({ address }) => address.includes(':') === client.address.includes(':'))
    return fitting[randomInt(Math.max(1, fitting.length))]
  }
}

/** Says what is wrong with a section that the schema cannot tell. @throws what `makeTurnParts` throws */
export async function checkTurn(config: TurnConfig): Promise<void> {
  const parts = await makeTurnParts(config, {
    clock: systemClock,
    logger: silentLogger(),
    names: new ResolvedNames(),
    onHttp: (socket) => socket.destroy(),
    onCertificate: () => {},
  })
  try {
    // It looks at its options when it is made, and opens nothing before it is started.
    at('turn: ', () => new TurnServer({ ...parts.settings, engine: 'node' }))
  } finally {
    await parts.close()
  }
}

type Closer = () => Promise<void> | void

async function listenersOf(
  config: TurnConfig,
  resources: TurnPartsResources,
  closers: Closer[],
): Promise<readonly TurnListenerOptions[]> {
  const rules = (key: string, { byDefault, allow, deny }: TurnPeersConfig): PeerRules => {
    const options = { byDefault, allow: allow.map(ruleOf), deny: deny.map(ruleOf) }
    const peers = at(`${key}.`, () => new PeerRules(options, resources))
    closers.push(() => peers.close())
    return peers
  }
  // One for all listeners without rules of their own: among those clients may move with their allocation.
  const common = rules('turn.peers', config.peers)
  const listeners: TurnListenerOptions[] = []
  for (const [index, listener] of config.listeners.entries()) {
    const key = `turn.listeners[${index}]`
    const certificate = await certificateOf(key, listener, resources, closers)
    listeners.push({
      name: listener.name,
      transport: listener.transport,
      listen: listenAddress(listener.listen),
      relays: (listener.relays ?? config.relays).map(({ address, advertised, ports }) => ({
        address,
        ports,
        ...(advertised !== undefined && { advertised }),
      })),
      peers: listener.peers === undefined ? common : rules(`${key}.peers`, listener.peers),
      relayTransports: listener.relayTransports,
      strictChannels: listener.strictChannels,
      ...(certificate !== undefined && { certificate }),
      ...(listener.proxyProtocolFrom.length > 0 && { proxyProtocolFrom: listener.proxyProtocolFrom }),
      ...(listener.sharedWithHttp && { onHttp: resources.onHttp }),
    })
  }
  return listeners
}

async function certificateOf(
  key: string,
  { name, certFile, keyFile }: TurnListenerConfig,
  { clock, logger, onCertificate }: TurnPartsResources,
  closers: Closer[],
): Promise<Certificate | undefined> {
  if (certFile === undefined || keyFile === undefined) return undefined
  const log = logger.child({ component: 'turn', listener: name })
  const files = new CertificateFiles({
    certFile,
    keyFile,
    clock,
    onChange: (certificate) => {
      onCertificate(name, certificate)
      log.info('certificate replaced')
    },
    onError: (error) => log.error({ code: errorCode(error), err: error }, 'certificate not replaced'),
  })
  closers.push(() => files.close())
  try {
    await files.start()
  } catch (error) {
    throw located(`${key}.certFile: `, error)
  }
  return files.certificate
}

function credentialsOf(
  { credentials }: TurnConfig,
  { clock, logger }: TurnPartsResources,
  closers: Closer[],
): CredentialChain {
  const { users, secrets, separator, strict, oauth, webhook } = credentials
  const key = 'turn.credentials'
  const sources: ConstructorParameters<typeof CredentialChain>[0][number][] = []
  if (users.length > 0) {
    const known = users.map(({ username, password, key, maxAllocations }) => ({
      username,
      ...(password !== undefined && { password }),
      ...(key !== undefined && { key }),
      ...(maxAllocations !== undefined && { maxAllocations }),
    }))
    sources.push(at(`${key}.users: `, () => new StaticUsers(known)))
  }
  if (secrets.length > 0) {
    sources.push(at(`${key}: `, () => new TimeLimited({ secrets, separator, isStrict: strict, clock })))
  }
  if (oauth !== undefined) {
    const keys = oauth.keys.map(({ kid, key }) => ({ kid, key: Buffer.from(key, 'base64') }))
    const { serverName } = oauth
    sources.push(at(`${key}.oauth: `, () => new OAuth({ serverName, keys, clock, logger })))
  }
  if (webhook !== undefined) {
    const { url, token, timeoutSeconds, rememberSeconds } = webhook
    const timeoutMs = timeoutSeconds * 1000
    const options = { url, ...(token !== undefined && { token }), timeoutMs, rememberSeconds, clock }
    const asked = at(`${key}.webhook: `, () => new Webhook(options))
    closers.push(() => asked.close())
    sources.push(asked)
  }
  return new CredentialChain(sources)
}

/** Keys of users are made with the realm as RFC 8265 has it, so clients must be told that one. */
function realmOf({ realm }: TurnConfig): string {
  const prepared = opaqueString(realm)
  if (prepared !== undefined) return prepared
  throw new SluiceError('TURN_BAD_OPTION', `turn.realm ${opaqueStringRefusal}`, {
    side: 'self',
    retryable: false,
  })
}

/** Puts the key before what `make` has to say of its options. */
function at<T>(prefix: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    throw located(prefix, error)
  }
}

function located(prefix: string, error: unknown): unknown {
  if (!(error instanceof SluiceError)) return error
  const { code, message, side, retryable } = error
  return new SluiceError(code, `${prefix}${message}`, { side, retryable, cause: error })
}

function ruleOf(rule: TurnPeersConfig['allow'][number]): {
  readonly to: string
  readonly protocol?: 'udp' | 'tcp'
} {
  if (typeof rule === 'string') return { to: rule }
  return { to: rule.to, ...(rule.protocol !== undefined && { protocol: rule.protocol }) }
}

/** The text has been checked when the configuration was read. */
function listenAddress(text: string): TurnListenerOptions['listen'] {
  const address = parseListenText(text)
  if (address === undefined) throw new TypeError(`not a listener: ${text}`)
  return address
}
