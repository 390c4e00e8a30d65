import type { Socket } from 'node:net'
import { errorMessage, SluiceError } from '../../../foundation/errors.ts'
import type { OriginTarget } from '../../../mechanisms/balancer/index.ts'
import type { ConnectionInfo } from '../../../mechanisms/net/index.ts'
import {
  ClientDialogue,
  type ClientDialogueOutput,
  type DetachedLink,
  type Refusal,
  type RtmpMessage,
  type StreamRequest,
} from '../../../protocols/rtmp/index.ts'
import { DialogueSocket } from './dialogue-socket.ts'
import { rtmpServiceError } from './errors.ts'
import type { CompleteRtmpOptions } from './options.ts'
import { dialOrigin, isReachable } from './origin-connection.ts'
import { requestAt } from './origin-request.ts'

/** What an origin made of a request. */
export type OriginAnswer =
  | {
      readonly kind: 'ready'
      /** Paused; its errors go nowhere until somebody else listens. */
      readonly socket: Socket
      readonly link: DetachedLink
      /** What the origin has to say to the client, on the origin's message stream. */
      readonly messages: readonly RtmpMessage[]
    }
  /** It said no; without a refusal it did so by silence, or by closing the connection, as SRS does when a hook denies. */
  | { readonly kind: 'refused'; readonly refusal: Refusal | undefined }

/** What is asked of an origin, and for whom. */
export interface OriginQuestion {
  readonly request: StreamRequest
  readonly client: ConnectionInfo
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
}

/**
 * Dials an origin and leads it through the dialogue.
 * @throws SluiceError of side `origin` when it does not answer as an RTMP server does; of side `client` when `signal`
 * is aborted. The socket is destroyed then.
 */
export function askOrigin(
  target: OriginTarget,
  { request, client, signal }: OriginQuestion,
  options: CompleteRtmpOptions,
): Promise<OriginAnswer> {
  return new Promise((resolve, reject) => {
    const { clock } = options
    const where = `${target.host}:${target.port}`
    const dialogue = new ClientDialogue(requestAt(target, request), options)
    const { socket, readyEvent } = dialOrigin(target, client, options)
    let isConnected = false
    let dialFailure: unknown
    let timer = clock.after(options.dialTimeoutMs, () =>
      fail(unreachable(where, `nothing within ${options.dialTimeoutMs} ms`)),
    )

    const link = new DialogueSocket<Exclude<ClientDialogueOutput, { kind: 'send' }>>(socket, dialogue, {
      onOutput(output) {
        if (output.kind === 'ready') {
          settle()
          const { messages } = output
          resolve({ kind: 'ready', socket, link: dialogue.detach(), messages })
        } else if (output.kind === 'refused') {
          refused(output.refusal)
        }
      },
      onEnd(error) {
        if (error !== undefined) fail(error)
        else if (dialogue.isOpen) void closed()
        else if (!isConnected) fail(unreachable(where, dialFailure ?? 'it was closed'))
        else fail(failure('RTMP_ORIGIN_CLOSED', `${where} closed the connection within the handshake`))
      },
    })
    const onError = (error: Error): void => {
      dialFailure = error
    }
    /** From the request on the origin has proved itself, and gets the time that its answer takes. */
    const onData = (): void => {
      if (!dialogue.isAsked) return
      socket.off('data', onData)
      timer.cancel()
      timer = clock.after(options.statusTimeoutMs, () => refused(undefined))
    }
    const onAbort = (): void => fail(gone())
    socket.prependListener('error', onError)
    socket.on('data', onData)
    socket.once(readyEvent, onConnect)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()

    function onConnect(): void {
      isConnected = true
      timer.cancel()
      timer = clock.after(options.originTimeoutMs, () => timedOut(options.originTimeoutMs))
      link.flush()
    }

    function settle(): void {
      link.stop()
      timer.cancel()
      socket.off('error', onError)
      socket.off('data', onData)
      socket.off(readyEvent, onConnect)
      signal.removeEventListener('abort', onAbort)
    }

    function refused(refusal: Refusal | undefined): void {
      settle()
      socket.destroy()
      resolve({ kind: 'refused', refusal })
    }

    function fail(error: unknown): void {
      settle()
      socket.destroy()
      reject(error instanceof SluiceError ? error : unreachable(where, error))
    }

    /** An origin that says no without a word still listens; one that died does not. */
    async function closed(): Promise<void> {
      settle()
      socket.destroy()
      if (await isReachable(target, options)) refused(undefined)
      else reject(failure('RTMP_ORIGIN_CLOSED', `${where} broke off within the dialogue, and is gone`))
    }

    function timedOut(afterMs: number): void {
      fail(failure('RTMP_ORIGIN_TIMEOUT', `no stream from ${where} within ${afterMs} ms`))
    }
  })
}

/** The client is no longer there to be served. */
export function gone(): SluiceError {
  return rtmpServiceError('RTMP_CLIENT_GONE', 'the client left before its stream began', {
    side: 'client',
    retryable: false,
  })
}

function unreachable(where: string, cause: unknown): SluiceError {
  return failure(
    'RTMP_ORIGIN_UNREACHABLE',
    `no connection to ${where}: ${typeof cause === 'string' ? cause : errorMessage(cause)}`,
    cause,
  )
}

function failure(
  code: 'RTMP_ORIGIN_UNREACHABLE' | 'RTMP_ORIGIN_TIMEOUT' | 'RTMP_ORIGIN_CLOSED',
  message: string,
  cause?: unknown,
): SluiceError {
  return rtmpServiceError(code, message, { side: 'origin', retryable: true, cause })
}
