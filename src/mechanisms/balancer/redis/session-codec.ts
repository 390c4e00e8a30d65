import type { RtcSession } from '../contract.ts'
import { Sealer } from './sealed.ts'
import { readRtcValue, rtcValue } from './srs-rtc-value.ts'

/** A session as it was read. */
export type ReadSession =
  | {
      readonly by: 'sluice'
      /** The gateway that serves it. */
      readonly gateway: string
      readonly session: RtcSession
      /** What was sealed could not be opened: it was sealed with another secret, or here there is none. */
      readonly isLocked: boolean
    }
  | ({ readonly by: 'srs-proxy' } & Pick<RtcSession, 'streamKey' | 'username'>)

interface Secrets {
  readonly icePassword?: string
  readonly originUrl?: string
}

/** Writes and reads whole sessions. What is secret of them is sealed, and without a secret to seal it with left out. */
export class SessionCodec {
  readonly #sealer: Sealer | undefined

  constructor(secret: string | undefined) {
    this.#sealer = secret === undefined ? undefined : new Sealer(secret, 'webrtc session')
  }

  write(session: RtcSession, gateway: string): string {
    const { streamKey, username, role, originId, originAddress, originPort, icePassword, resource } = session
    const secrets = { icePassword, originUrl: resource?.originUrl }
    const isAny = Object.values(secrets).some((one) => one !== undefined)
    return rtcValue({
      streamKey,
      username,
      ours: {
        gateway,
        role,
        originId,
        originAddress,
        originPort,
        ...(resource && { resource }),
        ...(this.#sealer &&
          isAny && { sealed: this.#sealer.seal(JSON.stringify(secrets), boundTo(session)) }),
      },
    })
  }

  /** Undefined for what could not be served. */
  read(text: string): ReadSession | undefined {
    const value = readRtcValue(text)
    if (value === undefined) return undefined
    const { streamKey, username, ours } = value
    if (ours === undefined) return { by: 'srs-proxy', streamKey, username }
    const { gateway, sealed, resource, ...place } = ours
    const bare = { streamKey, username, ...place, ...(resource && { resource }) }
    const secrets = sealed === undefined ? {} : this.#open(sealed, bare)
    const { icePassword, originUrl } = secrets ?? {}
    return {
      by: 'sluice',
      gateway,
      session: {
        ...bare,
        ...(icePassword !== undefined && { icePassword }),
        ...(resource && { resource: { ...resource, ...(originUrl !== undefined && { originUrl }) } }),
      },
      isLocked: secrets === undefined,
    }
  }

  #open(sealed: string, session: RtcSession): Secrets | undefined {
    const text = this.#sealer?.open(sealed, boundTo(session))
    // Only a gateway that has the secret can have written it.
    return text === undefined ? undefined : (JSON.parse(text) as Secrets)
  }
}

/** What is sealed is good for this and nothing else: whoever can write there shall not lead media elsewhere, nor make it last. */
function boundTo(session: RtcSession): string {
  const { username, streamKey, role, originId, originAddress, originPort, resource } = session
  const { tokenHash, untilMs } = resource ?? {}
  return JSON.stringify([
    username,
    streamKey,
    role,
    originId,
    originAddress,
    originPort,
    tokenHash ?? null,
    untilMs ?? null,
  ])
}
