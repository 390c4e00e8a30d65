import type { Socket } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../foundation/clock.ts'
import type { CloseOptions, Lifecycle, StartOptions } from '../foundation/lifecycle.ts'
import type { SessionDirectory } from '../foundation/session-info.ts'
import { TlsCertificates } from '../mechanisms/acme/index.ts'
import {
  type BalancerStore,
  type OriginId,
  streamKeyOfHttp,
  streamKeyOfRtmp,
  streamKeyOfSrt,
} from '../mechanisms/balancer/index.ts'
import type { Config, OriginConfig } from '../mechanisms/config/index.ts'
import type { Datapath } from '../mechanisms/datapath/index.ts'
import type { ApiRoute } from '../mechanisms/http-api/index.ts'
import {
  AddressRanges,
  type Dial,
  formatListenAddress,
  httpClientOf,
  originDial,
} from '../mechanisms/net/index.ts'
import type { Logger, Registry } from '../mechanisms/telemetry/index.ts'
import { AccessControl } from '../services/media/access/index.ts'
import { HlsProxy, HttpEdge, type HttpHandler, LiveProxy, StaticPages } from '../services/media/http/index.ts'
import { OriginApi } from '../services/media/origin-api/index.ts'
import { OriginsService, type StaticOrigin } from '../services/media/origins/index.ts'
import { RegistrationService } from '../services/media/registration/index.ts'
import { RtmpService } from '../services/media/rtmp/index.ts'
import { SrtService } from '../services/media/srt/index.ts'
import { WebRtcService } from '../services/media/webrtc/index.ts'
import { drainable } from './drainable.ts'
import {
  addressText,
  datagramAddresses,
  listenAddress,
  milliseconds,
  millisecondsOrNone,
} from './settings.ts'
import { version } from './version.ts'

/** What the role stands on. */
export interface MediaParts {
  readonly balancer: BalancerStore
  readonly datapath: Datapath
  readonly logger: Logger
  readonly registry: Registry
  readonly clock: Clock
  /** Opens every connection to an origin. */
  readonly dial: Dial
  /** Whether other gateways can take WebRTC sessions over, and prove who belongs to them. */
  readonly canHandOver: boolean
  /** Whether this gateway is the one of the fleet that asks an origin for its streams. */
  readonly isAsker: (id: OriginId) => boolean
  /** Asked after media and before pages. */
  readonly handlers: () => readonly HttpHandler[]
}

/** Where the role is bound, as texts. */
export interface MediaAddresses {
  readonly http: readonly string[]
  readonly https: readonly string[]
  readonly rtmp: readonly string[]
  readonly rtmps: readonly string[]
  readonly webrtc: readonly string[]
  readonly srt: readonly string[]
  readonly registration: string
}

type MediaSections = Pick<Config, 'media' | 'origins' | 'registration' | 'routing'>

/** The media role: `[media]`, `[[origins]]` and `[registration]` in, running services out. */
export class MediaRole implements Lifecycle {
  readonly #config: MediaSections
  readonly #tls: TlsCertificates | undefined
  readonly #access: AccessControl
  readonly #registration: RegistrationService
  readonly #origins: OriginsService
  readonly #originApi: OriginApi
  readonly #rtmp: RtmpService
  readonly #webrtc: WebRtcService
  readonly #srt: SrtService
  readonly #live: LiveProxy
  readonly #hls: HlsProxy
  readonly #pages: StaticPages | undefined
  readonly #http: HttpEdge
  #isDraining = false
  #started: Lifecycle[] = []

  /** @throws what a service throws that cannot do what its section says */
  constructor(config: MediaSections, parts: MediaParts) {
    const { balancer, datapath, logger, registry, clock, dial } = parts
    const { media, registration, routing: keyRules } = config
    const { http, rtmp, webrtc, srt, tls, trustedProxies, proxyProtocolFrom } = media
    this.#config = config
    const clientOf = httpClientOf(new AddressRanges(trustedProxies))
    const dialOptionsOf = originDial({ ca: tls.originCa, insecure: tls.originInsecure })
    const isSecure = http.secureListen.length > 0 || rtmp.secureListen.length > 0
    this.#tls = isSecure
      ? new TlsCertificates({
          files: tls.certificates,
          acme: tls.acme,
          minVersion: tls.minVersion,
          logger,
          registry,
          clock,
        })
      : undefined
    const access = new AccessControl({ rules: media.access, logger, registry, clock })
    this.#access = access

    this.#registration = new RegistrationService({
      origins: balancer,
      streamKeyOf: ({ vhost, app, stream }) => streamKeyOfRtmp(`rtmp://${vhost}/${app}`, stream, keyRules),
      logger,
      registry,
      version,
      clock,
      listen: listenAddress(registration.listen),
      allow: registration.allow,
      ...(registration.token !== undefined && { token: registration.token }),
    })
    this.#origins = new OriginsService({
      balancer,
      logger,
      registry,
      clock,
      dial,
      streamKeyOf: ({ vhost, app, stream }) => streamKeyOfRtmp(`rtmp://${vhost}/${app}`, stream, keyRules),
      origins: config.origins.map(staticOrigin),
      followIntervalMs: millisecondsOrNone(registration.followSeconds),
      isAsker: parts.isAsker,
      tls: originTls(dialOptionsOf),
    })
    this.#originApi = new OriginApi({ origins: balancer, logger })
    const common = { balancer, access, logger, registry, clock }
    const toOrigins = { origins: balancer, dial, dialOptionsOf }
    this.#rtmp = new RtmpService({
      ...common,
      ...toOrigins,
      listen: rtmp.listen.map(listenAddress),
      secureListen: rtmp.secureListen.map(listenAddress),
      ...(this.#tls !== undefined && { tls: { certificate: this.#tls } }),
      proxyProtocolFrom,
      proxyProtocolToOrigins: rtmp.proxyProtocolToOrigins,
      // SRS keys know nothing of `app`.
      streamKeyOf: ({ app, tcUrl, streamName }) =>
        streamKeyOfRtmp(tcUrl || (keyRules.keys === 'srs' ? '' : `/${app}`), streamName, keyRules),
      maxConnections: rtmp.maxConnections,
      maxConnectionsPerAddress: rtmp.maxConnectionsPerAddress,
      idleMs: milliseconds(rtmp.idleSeconds),
      resumeMs: millisecondsOrNone(rtmp.resumeSeconds),
    })
    this.#webrtc = new WebRtcService({
      ...common,
      ...toOrigins,
      datapath,
      sessionStore: balancer,
      clientOf,
      streamKeyOf: (request) => streamKeyOfHttp(request, keyRules),
      mediaListen: webrtc.listen.map(listenAddress).map((listen) => ({
        addresses: datagramAddresses(listen),
        port: listen.port,
      })),
      publicAddresses: webrtc.publicAddresses.map(withoutUndefined),
      keepOriginAddresses: webrtc.keepOriginAddresses,
      tcpListen: webrtc.tcpListen.map(listenAddress),
      tcpPublicAddresses: webrtc.tcpPublicAddresses.map(withoutUndefined),
      iceTcp: webrtc.iceTcp,
      tcpProxyProtocolFrom: proxyProtocolFrom,
      idleTimeoutMs: milliseconds(webrtc.idleSeconds),
      maxSessions: webrtc.maxSessions,
      allowIceQuery: webrtc.allowIceQuery,
      unverified: webrtc.unverified,
      lookupsPerSecond: webrtc.lookupsPerSecond,
      lookupsPerSecondPerSource: webrtc.lookupsPerSource,
      leaveOnClose: parts.canHandOver,
    })
    this.#srt = new SrtService({
      ...common,
      datapath,
      listen: srt.listen.map(listenAddress),
      streamKeyOf: ({ host, resource }) => streamKeyOfSrt(host, resource, keyRules),
      defaultStreamId: srt.defaultStreamId,
      plainRole: srt.plainRole,
      plainApp: srt.plainApp,
      originTimeoutMs: milliseconds(srt.originTimeoutSeconds),
      dialogueTimeoutMs: milliseconds(srt.dialogueSeconds),
      maxDialogues: srt.maxDialogues,
      maxDialoguesPerSource: srt.maxDialoguesPerSource,
      idleMs: milliseconds(srt.idleSeconds),
      maxSessions: srt.maxSessions,
      maxSessionsPerSource: srt.maxSessionsPerSource,
    })
    this.#pages = http.pages === undefined ? undefined : new StaticPages({ directory: http.pages, logger })
    const resumeMs = millisecondsOrNone(http.resumeSeconds)
    const overHttp = { ...common, ...toOrigins, keyRules, clientOf, stallMs: milliseconds(http.stallSeconds) }
    this.#live = new LiveProxy({
      ...overHttp,
      headTimeoutMs: milliseconds(http.idleSeconds),
      idleMs: milliseconds(http.idleSeconds),
      resumeMs,
      ...(this.#pages !== undefined && { pages: this.#pages }),
    })
    this.#hls = new HlsProxy({ ...overHttp, originWaitMs: resumeMs })
    const isDraining = (): boolean => this.#isDraining
    this.#http = new HttpEdge({
      listen: http.listen.map(listenAddress),
      ...(this.#tls !== undefined && {
        secure: { listen: http.secureListen.map(listenAddress), certificate: this.#tls },
      }),
      proxyProtocolFrom,
      ...(http.takesRtmp && { onRtmp: (socket, info) => this.#rtmp.adopt(socket, info) }),
      handlers: [
        // An authority's questions, at whatever name.
        ...(this.#tls?.handlers ?? []),
        this.#webrtc,
        drainable(this.#hls, isDraining),
        drainable(this.#live, isDraining),
        ...parts.handlers(),
        ...(this.#pages === undefined ? [] : [this.#pages]),
      ],
      version,
      logger,
      registry,
      clock,
      // A request may wait for its origin that long.
      socketIdleMs: milliseconds(http.idleSeconds) + 30_000,
      maxConnections: http.maxConnections,
      maxConnectionsPerAddress: http.maxConnectionsPerAddress,
    })
  }

  /** Whoever has sessions. */
  get sessions(): readonly SessionDirectory[] {
    return [this.#webrtc, this.#rtmp, this.#srt, this.#live, this.#hls]
  }

  /** For operators. */
  get routes(): readonly ApiRoute[] {
    return this.#originApi.routes
  }

  /** Whether clients can be served at all; a gateway that is only TURN or tunnel has no HTTP port. */
  get isServed(): boolean {
    return this.#config.media.http.listen.length + this.#config.media.http.secureListen.length > 0
  }

  get registrationPort(): number | undefined {
    return this.#registration.address?.port
  }

  get addresses(): MediaAddresses {
    const { rtmp } = this.#config.media
    const portTexts = (ports: readonly number[], listen: readonly string[]): readonly string[] =>
      ports.map((port, index) => formatListenAddress({ ...listenAddress(listen[index] ?? '0'), port }))
    const { address } = this.#registration
    return {
      http: this.#http.addresses.map(addressText),
      https: this.#http.secureAddresses.map(addressText),
      rtmp: portTexts(this.#rtmp.ports, rtmp.listen),
      rtmps: portTexts(this.#rtmp.securePorts, rtmp.secureListen),
      webrtc: this.#webrtc.mediaAddresses.map(addressText),
      srt: this.#srt.addresses.map(addressText),
      registration: address === undefined ? '' : addressText(address),
    }
  }

  /** A load balancer sends new connections elsewhere: those that are kept alive end with their next answer. */
  setLeaving(isLeaving: boolean): void {
    this.#http.setLeaving(isLeaving)
  }

  /** Serves HTTP on a connection that was accepted elsewhere. */
  adoptHttp(socket: Socket): void {
    this.#http.adopt(socket)
  }

  /** What origins need first, and the edges last. @throws what a service throws that cannot bind */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.#started.length > 0) return
    this.#isDraining = false
    await this.#pages?.start()
    const services = [this.#access, this.#registration, this.#origins, this.#webrtc, this.#srt, this.#rtmp]
    try {
      for (const service of [...(this.#tls === undefined ? [] : [this.#tls]), ...services, this.#http]) {
        options.signal?.throwIfAborted()
        // Remembered before it has started: what fails half-way is closed too.
        this.#started.push(service)
        await service.start(options)
      }
    } catch (error) {
      await this.close()
      throw error
    }
    this.#tls?.obtain()
  }

  /** New sessions are refused, running ones go on for up to `graceMs`. HTTP listens on: clients end their WebRTC sessions over it. */
  async drain({ graceMs = 0 }: CloseOptions = {}): Promise<void> {
    this.#isDraining = true
    const draining = [this.#webrtc, this.#rtmp, this.#srt].filter((service) =>
      this.#started.includes(service),
    )
    await Promise.all(draining.map((service) => service.close({ graceMs })))
  }

  async close(options: CloseOptions = {}): Promise<void> {
    this.#isDraining = true
    const started = this.#started
    this.#started = []
    for (const service of started.toReversed()) {
      await service.close(options)
      if (service === this.#http) await Promise.all([this.#hls.close(), this.#originApi.close()])
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * Checks other rules of access and other static origins, and gives what puts them in force and then names the keys that
   * differ and want a restart. @throws what is wrong with them
   */
  prepareReload(config: MediaSections): () => Promise<readonly string[]> {
    const applyAccess = this.#access.prepareReload(config.media.access)
    const applyOrigins = this.#origins.prepareUpdate(config.origins.map(staticOrigin))
    return async () => {
      applyAccess()
      await applyOrigins()
      const before = this.#config
      const mediaKeys = (Object.keys(config.media) as (keyof Config['media'])[]).filter(
        (key) => key !== 'access' && !isDeepStrictEqual(config.media[key], before.media[key]),
      )
      const sections = (['registration', 'routing'] as const).filter(
        (key) => !isDeepStrictEqual(config[key], before[key]),
      )
      return [...mediaKeys.map((key) => `media.${key}`), ...sections]
    }
  }
}

function staticOrigin(config: OriginConfig): StaticOrigin {
  const { checkSeconds, timeoutSeconds, followSeconds, ...rest } = config
  return withoutUndefined({
    ...rest,
    checkIntervalMs: milliseconds(checkSeconds),
    timeoutMs: milliseconds(timeoutSeconds),
    followIntervalMs: millisecondsOrNone(followSeconds),
  }) as StaticOrigin
}

/** How certificates are verified where no name is known yet. */
function originTls(dialOptionsOf: ReturnType<typeof originDial>): object {
  const { secureContext, rejectUnauthorized } =
    dialOptionsOf({ scheme: 'https', host: 'origin', port: 443 }).tls ?? {}
  return withoutUndefined({ secureContext, rejectUnauthorized })
}

type Defined<T> = { readonly [Key in keyof T]: Exclude<T[Key], undefined> }

/** The keys that are there: a file that leaves a key out has it undefined, and defaults are for absent ones. */
function withoutUndefined<T extends object>(table: T): Defined<T> {
  return Object.fromEntries(Object.entries(table).filter(([, value]) => value !== undefined)) as Defined<T>
}
