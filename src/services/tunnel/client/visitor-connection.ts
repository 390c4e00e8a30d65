import type { ByteStream } from '../../../foundation/byte-stream.ts'
import type { Clock } from '../../../foundation/clock.ts'
import type { VisitorConfig } from '../../../mechanisms/frp-config/index.ts'
import { cfbKey, type MessageBodies, type MessageName, privilegeKey } from '../../../protocols/frp/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'
import type { MessageChannel } from '../message-channel.ts'
import { payloadLayers } from '../payload-layers.ts'
import type { Agreed } from './proxy-service.ts'
import { wireName } from './wire-name.ts'

/** A login as visitors need it. */
export interface VisitedServer extends Agreed {
  readonly runId: string
  /** Calls once when the login is over, unless the function that is returned was called before. */
  onOver(callback: () => void): () => void
  /** A new connection to the server that begins with this message; its channel is paused. */
  open<Name extends MessageName>(name: Name, body: Partial<MessageBodies[Name]>): Promise<MessageChannel>
}

/** How long a server has to let a visitor in, in milliseconds (reference §11). */
export const admissionMs = 10_000

/**
 * Opens a connection to what a visitor visits, with the visitor's layers upon it; it is paused.
 *
 * @param user of the client; names of proxies stand behind it unless the visitor says whose they are
 * @param timeoutMs for all of it
 * @throws TunnelError TUNNEL_FORBIDDEN with the server's words, TUNNEL_TIMEOUT, TUNNEL_CLOSED, TUNNEL_UNREACHABLE
 */
export async function openVisitorConnection(
  config: VisitorConfig,
  user: string,
  server: VisitedServer,
  clock: Clock,
  timeoutMs: number = admissionMs,
): Promise<ByteStream> {
  const { secretKey, transport } = config
  const timestamp = Math.floor(clock.wallMs() / 1000)
  const opening = server.open('NewVisitorConn', {
    run_id: server.runId,
    proxy_name: wireName(config.serverUser === '' ? user : config.serverUser, config.serverName),
    sign_key: privilegeKey(secretKey, timestamp),
    timestamp,
    use_encryption: transport.useEncryption,
    use_compression: transport.useCompression,
  })
  const connection = await admitted(opening, server, clock, timeoutMs)
  return payloadLayers(connection, {
    key: transport.useEncryption ? cfbKey(secretKey) : undefined,
    isCompressed: transport.useCompression,
  })
}

/** Waits for the server's answer. */
function admitted(
  opening: Promise<MessageChannel>,
  server: VisitedServer,
  clock: Clock,
  timeoutMs: number,
): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    let channel: MessageChannel | undefined
    let isOver = false
    const fail = (error: Error): void => {
      if (isOver) return
      finish()
      channel?.destroy()
      reject(error)
    }
    const finish = (): void => {
      isOver = true
      timer.cancel()
      forget()
    }
    const forget = server.onOver(() =>
      fail(failure(TunnelErrorCode.closed, 'the session with the server is over')),
    )
    const timer = clock.after(timeoutMs, () =>
      fail(failure(TunnelErrorCode.timeout, 'the server did not let the visitor in in time')),
    )
    opening.then(
      (opened) => {
        channel = opened
        if (isOver) {
          opened.destroy()
          return
        }
        opened.onClose = (error) =>
          fail(error ?? failure(TunnelErrorCode.closed, 'the server closed the connection of the visitor'))
        opened.onMessage = (message) => {
          if (message.name !== 'NewVisitorConnResp') {
            fail(failure(TunnelErrorCode.protocol, `the server answered a visitor with ${message.name}`))
          } else if (message.body.error !== '') {
            fail(failure(TunnelErrorCode.forbidden, message.body.error))
          } else {
            finish()
            resolve(opened.detach())
          }
        }
        opened.resume()
      },
      (error: unknown) => fail(error instanceof Error ? error : new Error(String(error))),
    )
  })
}

function failure(code: TunnelErrorCode, message: string): TunnelError {
  return new TunnelError(code, message, { side: 'origin', retryable: true })
}
