import type { Timer } from '../../../foundation/clock.ts'
import {
  type Arrival,
  canonicalAddress,
  type EndpointId,
  type Remote,
} from '../../../mechanisms/datapath/index.ts'
import { type Handshake, isRetryable, RejectReason, RelayedHandshake } from '../../../protocols/srt/index.ts'
import { SrtError } from './errors.ts'
import type { CompleteSrtOptions } from './options.ts'

/** How often a handshake packet is sent again, in milliseconds; as libsrt does. */
const RESEND_MS = 250

/** A socket of an origin for one caller, and ours that only this origin is heard on. */
export interface OriginLink {
  readonly endpoint: EndpointId
  readonly remote: Remote
  /** What the origin answered to the conclusion. */
  readonly answer: Handshake
  /** Takes what arrives from the origin from now on; until then it is dropped, as the network might. */
  onArrival: ((arrival: Arrival) => void) | undefined
}

/** What an origin is asked, and how long it may take. */
export interface OriginCall {
  readonly remote: Remote
  /** The caller's, with the stream id that the origin is to see. */
  readonly conclusion: Handshake
  readonly signal: AbortSignal
}

/**
 * Calls an origin in the name of a caller. The link is the taker's to close (`datapath.closeEndpoint`); nothing is left
 * when it fails.
 *
 * @throws SRT_ORIGIN_UNREACHABLE, SRT_ORIGIN_TIMEOUT, SRT_ORIGIN_BROKEN, SRT_ORIGIN_REFUSED, the reason of `signal`, and
 * what the datapath throws when it has no socket
 */
export async function callOrigin(
  { remote, conclusion, signal }: OriginCall,
  { datapath, clock, originTimeoutMs }: Pick<CompleteSrtOptions, 'datapath' | 'clock' | 'originTimeoutMs'>,
): Promise<OriginLink> {
  const handshake = new RelayedHandshake(conclusion)
  const deferred: { resolve?: (answer: Handshake) => void; reject?: (error: unknown) => void } = {}
  const answered = new Promise<Handshake>((resolve, reject) => Object.assign(deferred, { resolve, reject }))
  // Whoever waits for it may not be there yet.
  answered.catch(() => {})
  let link: OriginLink | undefined
  const { id } = await datapath.openEndpoint(
    { addresses: [remote.address.includes(':') ? '::' : '0.0.0.0'], port: 0, remote, deliver: true },
    (arrival) => {
      if (link !== undefined) link.onArrival?.(arrival)
      else if (arrival.kind === 'icmp') deferred.reject?.(unreachable(remote))
      else take(arrival.bytes)
    },
  )
  const send = (): void => void datapath.send(id, remote, handshake.packet)
  const take = (bytes: Uint8Array): void => {
    // It is kept.
    const step = handshake.receive(Buffer.from(bytes))
    switch (step.kind) {
      case 'next':
        send()
        break
      case 'accepted':
        deferred.resolve?.(step.answer)
        break
      case 'rejected':
        deferred.reject?.(refused(step.reason))
        break
      case 'broken':
        deferred.reject?.(originError('SRT_ORIGIN_BROKEN', `the origin answered nonsense: ${step.why}`))
        break
      case 'ignored':
        break
      default:
        step satisfies never
    }
  }
  let resend: Timer | undefined
  const sendAgain = (): void => {
    send()
    resend = clock.after(RESEND_MS, sendAgain)
  }
  const deadline = clock.after(originTimeoutMs, () =>
    deferred.reject?.(originError('SRT_ORIGIN_TIMEOUT', `no answer within ${originTimeoutMs} ms`)),
  )
  const onAbort = (): void => deferred.reject?.(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    signal.throwIfAborted()
    sendAgain()
    link = { endpoint: id, remote, answer: await answered, onArrival: undefined }
    return link
  } catch (error) {
    datapath.closeEndpoint(id)
    throw error
  } finally {
    resend?.cancel()
    deadline.cancel()
    signal.removeEventListener('abort', onAbort)
  }
}

/** A literal address as the datapath names it. */
export function remoteOf(address: string, port: number): Remote {
  return { address: canonicalAddress(address), port }
}

function refused(reason: number): SrtError {
  return new SrtError('SRT_ORIGIN_REFUSED', `the origin refused: ${reason}`, {
    side: 'origin',
    retryable: isRetryable(reason),
    reason,
  })
}

function unreachable({ address, port }: Remote): SrtError {
  return originError('SRT_ORIGIN_UNREACHABLE', `nothing is at ${address} port ${port}`)
}

function originError(
  code: 'SRT_ORIGIN_UNREACHABLE' | 'SRT_ORIGIN_TIMEOUT' | 'SRT_ORIGIN_BROKEN',
  message: string,
): SrtError {
  return new SrtError(code, message, { side: 'origin', retryable: true, reason: RejectReason.gateway })
}
