import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Clock } from '../foundation/clock.ts'
import { errorCode, errorMessage } from '../foundation/errors.ts'
import {
  type CloseOptions,
  type Lifecycle,
  LifecycleStack,
  type StartOptions,
} from '../foundation/lifecycle.ts'
import type { TurnConfig, TurnListenerConfig, TurnPeersConfig } from '../mechanisms/config/index.ts'
import type { Datapath } from '../mechanisms/datapath/index.ts'
import type { ApiRoute } from '../mechanisms/http-api/index.ts'
import { type Certificate, CertificateFiles, parseListenText } from '../mechanisms/net/index.ts'
import type { Logger, Registry } from '../mechanisms/telemetry/index.ts'
import {
  CredentialChain,
  credentialRoutes,
  EventWebhook,
  MemoryQuota,
  OAuth,
  PeerRules,
  ResolvedNames,
  StaticUsers,
  TimeLimited,
  type TurnListenerOptions,
  turnRoutes,
  TurnServer,
  type TurnServerOptions,
  Webhook,
} from '../services/turn/index.ts'

export interface TurnRoleOptions {
  readonly datapath: Datapath
  readonly logger: Logger
  readonly registry: Registry
  readonly clock: Clock
  /** Takes HTTP that came on a port which is shared with it. */
  readonly onHttp: NonNullable<TurnListenerOptions['onHttp']>
  readonly ownPorts: NonNullable<TurnServerOptions['ownPorts']>
}

/** The TURN role of the gateway: the `[turn]` section in, a running server out, and changes of the section while it runs. */
export class TurnRole implements Lifecycle {
  readonly #options: TurnRoleOptions
  readonly #names: ResolvedNames
  readonly #quota = new MemoryQuota(
    (user) => this.#parts?.credentials.maxAllocations(user) ?? this.#config.limits.maxPerUser,
  )
  #config: TurnConfig
  #server: TurnServer | undefined
  #events: EventWebhook | undefined
  #parts: Parts | undefined

  constructor(config: TurnConfig, options: TurnRoleOptions) {
    this.#config = config
    this.#options = options
    const { logger, clock } = options
    this.#names = new ResolvedNames({
      clock,
      onError: (error, name) =>
        logger.warn({ name, code: errorCode(error), reason: errorMessage(error) }, 'peer name not resolved'),
    })
  }

  /** Where listeners are bound, by name; undefined when there is no TURN server. */
  get ports(): ReadonlyMap<string, number> | undefined {
    return this.#server?.ports
  }

  /** Of the admin API. */
  get routes(): readonly ApiRoute[] {
    const server = {
      listAllocations: () => this.#server?.listAllocations() ?? [],
      killAllocation: (id: string) => this.#server?.killAllocation(id) ?? false,
      killUser: (user: string) => this.#server?.killUser(user) ?? 0,
    }
    const { logger, clock } = this.#options
    return [
      ...turnRoutes(server, logger.child({ component: 'turn' })),
      ...credentialRoutes({
        clock,
        issuer: () => ({
          secret: this.#config.credentials.secrets[0],
          separator: this.#config.credentials.separator,
          ttlSeconds: this.#config.credentials.ttlSeconds,
          uris: this.#config.uris,
        }),
      }),
    ]
  }

  /** @throws what the server's `start` throws, NET_BAD_CERTIFICATE, PEERS_BAD_RULE, TURN_CREDENTIAL_BAD_OPTION */
  async start(options?: StartOptions): Promise<void> {
    if (this.#config.listeners.length === 0 || this.#server !== undefined) return
    const config = this.#config
    const { datapath, logger, registry, clock, ownPorts } = this.#options
    await this.#names.start()
    const parts = await this.#makeParts(config)
    try {
      const { events } = config
      if (events !== undefined) {
        this.#events = new EventWebhook({
          url: events.url,
          ...(events.token !== undefined && { token: events.token }),
          logger,
          clock,
        })
      }
      const server = new TurnServer({
        ...settingsOf(config, parts),
        ...(config.secret !== undefined && { secret: createHash('sha256').update(config.secret).digest() }),
        ...(this.#events !== undefined && { events: this.#events.events }),
        quota: this.#quota,
        ownPorts,
        datapath,
        logger,
        registry,
        clock,
      })
      await server.start(options)
      this.#server = server
      this.#parts = parts
    } catch (error) {
      await parts.close()
      throw error
    }
  }

  async close(options?: CloseOptions): Promise<void> {
    await this.#server?.close(options)
    this.#server = undefined
    await this.#parts?.close()
    this.#parts = undefined
    await this.#events?.close()
    this.#events = undefined
    await this.#names.close()
  }

  /**
   * Puts another `[turn]` section in force; what it does not touch goes on undisturbed. `secret` and `events` are those of
   * the start.
   *
   * @throws as `start` does; then nothing has changed
   */
  async reload(config: TurnConfig): Promise<void> {
    const server = this.#server
    if (server === undefined) {
      this.#config = config
      await this.start()
      return
    }
    const parts = await this.#makeParts(config)
    try {
      const { restarted } = await server.update(settingsOf(config, parts))
      if (restarted.length > 0) this.#options.logger.warn({ restarted }, 'TURN listeners opened anew')
    } catch (error) {
      await parts.close()
      throw error
    }
    const before = this.#parts
    this.#parts = parts
    this.#config = config
    await before?.close()
  }

  async #makeParts(config: TurnConfig): Promise<Parts> {
    const owned = new LifecycleStack()
    const closers: (() => Promise<void> | void)[] = [() => owned.close()]
    const close = async (): Promise<void> => {
      for (const end of closers.toReversed()) await end()
    }
    try {
      const rules = (of: TurnPeersConfig): PeerRules => {
        const peers = new PeerRules(
          { byDefault: of.byDefault, allow: of.allow.map(ruleOf), deny: of.deny.map(ruleOf) },
          { names: this.#names },
        )
        closers.push(() => peers.close())
        return peers
      }
      const common = rules(config.peers)
      const listeners: TurnListenerOptions[] = []
      for (const listener of config.listeners) {
        const certificate = await this.#certificateOf(listener, owned)
        listeners.push({
          name: listener.name,
          transport: listener.transport,
          listen: listenAddress(listener.listen),
          relays: (listener.relays ?? config.relays).map(({ address, advertised, ports }) => ({
            address,
            ports,
            ...(advertised !== undefined && { advertised }),
          })),
          peers: listener.peers === undefined ? common : rules(listener.peers),
          relayTransports: listener.relayTransports,
          strictChannels: listener.strictChannels,
          ...(certificate !== undefined && { certificate }),
          ...(listener.proxyProtocolFrom.length > 0 && { proxyProtocolFrom: listener.proxyProtocolFrom }),
          ...(listener.sharedWithHttp && { onHttp: this.#options.onHttp }),
        })
      }
      const credentials = this.#credentialsOf(config, closers)
      await owned.start()
      return { listeners, credentials, close }
    } catch (error) {
      await close()
      throw error
    }
  }

  /** Reads the files now, and follows them. */
  async #certificateOf(
    { name, certFile, keyFile }: TurnListenerConfig,
    owned: LifecycleStack,
  ): Promise<Certificate | undefined> {
    if (certFile === undefined || keyFile === undefined) return undefined
    const log = this.#options.logger.child({ component: 'turn', listener: name })
    owned.add(
      new CertificateFiles({
        certFile,
        keyFile,
        clock: this.#options.clock,
        onChange: (certificate) => {
          this.#server?.setCertificate(name, certificate)
          log.info('certificate replaced')
        },
        onError: (error) => log.error({ code: errorCode(error), err: error }, 'certificate not replaced'),
      }),
    )
    const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)])
    return { cert, key }
  }

  #credentialsOf({ credentials }: TurnConfig, closers: (() => Promise<void> | void)[]): CredentialChain {
    const { clock, logger } = this.#options
    const { users, secrets, separator, strict, oauth, webhook } = credentials
    const sources: ConstructorParameters<typeof CredentialChain>[0][number][] = []
    if (users.length > 0) {
      sources.push(
        new StaticUsers(
          users.map(({ username, password, key, maxAllocations }) => ({
            username,
            ...(password !== undefined && { password }),
            ...(key !== undefined && { key }),
            ...(maxAllocations !== undefined && { maxAllocations }),
          })),
        ),
      )
    }
    if (secrets.length > 0) sources.push(new TimeLimited({ secrets, separator, isStrict: strict, clock }))
    if (oauth !== undefined) {
      const keys = oauth.keys.map(({ kid, key }) => ({ kid, key: Buffer.from(key, 'base64') }))
      sources.push(new OAuth({ serverName: oauth.serverName, keys, clock, logger }))
    }
    if (webhook !== undefined) {
      const { url, token, timeoutSeconds, rememberSeconds } = webhook
      const asked = new Webhook({
        url,
        ...(token !== undefined && { token }),
        timeoutMs: timeoutSeconds * 1000,
        rememberSeconds,
        clock,
      })
      closers.push(() => asked.close())
      sources.push(asked)
    }
    return new CredentialChain(sources)
  }
}

/** What a section is made of, and how it is given up. */
interface Parts {
  readonly listeners: readonly TurnListenerOptions[]
  readonly credentials: CredentialChain
  readonly close: () => Promise<void>
}

function settingsOf(
  { realm, mobility, security, limits }: TurnConfig,
  { listeners, credentials }: Parts,
): Pick<TurnServerOptions, 'listeners' | 'credentials' | 'realm' | 'mobility' | 'security' | 'limits'> {
  return { listeners, credentials, realm, mobility, security, limits }
}

function ruleOf(rule: TurnPeersConfig['allow'][number]): {
  readonly to: string
  readonly protocol?: 'udp' | 'tcp'
} {
  if (typeof rule === 'string') return { to: rule }
  return { to: rule.to, ...(rule.protocol !== undefined && { protocol: rule.protocol }) }
}

function listenAddress(text: string): TurnListenerOptions['listen'] {
  const address = parseListenText(text)
  if (address === undefined) throw new TypeError(`not a listener: ${text}`)
  return address
}
