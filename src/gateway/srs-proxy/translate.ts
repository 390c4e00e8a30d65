import { resolve } from 'node:path'
import type { SrsProxySettings } from './settings.ts'

/** What `sluice srs-proxy` takes beyond the variables. */
export interface SrsProxyFlags {
  /** Bearer token that origins must send. */
  readonly registerToken?: string | undefined
  /** Addresses and ranges that may register. */
  readonly registerAllow?: readonly string[] | undefined
  /** Where health, metrics and the admin API are. @defaultValue 127.0.0.1:9190 */
  readonly admin?: string | undefined
  /** Bearer token of metrics and the admin API. */
  readonly adminToken?: string | undefined
  /** How streams are told apart. @defaultValue srs, as at the SRS proxy: an address with and without port is two hosts */
  readonly keys?: 'srs' | 'normal' | undefined
  /** Hosts that have streams of their own; of `normal` keys. */
  readonly vhosts?: readonly string[] | undefined
}

/** What `checkSeconds` is by default. */
const CHECK_SECONDS = 10

/** The `sluice.toml` that does what the settings say, as its tables. */
export function configOfSettings(settings: SrsProxySettings, flags: SrsProxyFlags): Record<string, unknown> {
  const { defaultBackend: backend, shared } = settings
  const registerToken = flags.registerToken ?? settings.registerToken
  const adminToken = flags.adminToken ?? settings.adminToken
  return {
    routing: { keys: flags.keys ?? 'srs', ...(flags.vhosts !== undefined && { vhosts: flags.vhosts }) },
    registration: {
      listen: settings.system,
      ...(registerToken !== undefined && { token: registerToken }),
      ...(flags.registerAllow !== undefined && { allow: flags.registerAllow }),
    },
    balancer: {
      heartbeatTtlSeconds: settings.originTtlMs / 1000,
      // Silent origins are forgotten after a day, or later where they are given longer to announce themselves.
      forgetSeconds: Math.max(86_400, settings.originTtlMs / 1000),
    },
    media: {
      http: {
        listen: [settings.http, settings.api],
        // SRS would not start without the directory; here the log has a warning.
        pages: resolve(settings.staticFiles),
      },
      rtmp: { listen: [settings.rtmp] },
      // Origins name the public address themselves (CANDIDATE, eip); the proxy has always left it alone.
      webrtc: {
        listen: [settings.webrtc],
        keepOriginAddresses: true,
        // Go proxies that share the Redis keep no passwords there.
        unverified: 'bind-once',
      },
      srt: { listen: [settings.srt] },
    },
    ...(shared !== undefined && {
      redis: shared.redis,
      fleet: { ...(shared.fleetSecret !== undefined && { secret: shared.fleetSecret }) },
    }),
    ...(backend !== undefined && {
      origins: [
        {
          name: 'default',
          kind: 'srs',
          host: backend.host,
          // As at SRS: it is taken to be there. What fails on the way to it counts all the same.
          check: false,
          // By which it is kept from falling silent, so more often than that.
          checkSeconds: Math.min(CHECK_SECONDS, settings.originTtlMs / 3000),
          ports: {
            rtmp: backend.rtmp,
            http: backend.http,
            api: backend.api,
            rtc: backend.rtc,
            srt: backend.srt,
          },
        },
      ],
    }),
    admin: {
      ...(flags.admin !== undefined && { listen: flags.admin }),
      ...(adminToken !== undefined && { token: adminToken }),
    },
    // What is cut by force at that time needs no more grace.
    shutdown: { graceSeconds: Math.min(settings.graceMs, settings.forceMs) / 1000 },
  }
}
