import { amf0Object, commandMessage, commandName, type RtmpMessage } from '../../../protocols/rtmp/index.ts'
import { rtmpServiceError } from './errors.ts'

/** A client that is refused more often on one connection does it on purpose. */
const MAX_REFUSALS = 8

/**
 * Keeps a connection at the stream that was decided on: who may use it, and which origin has it, was asked for that one only.
 * A further `publish` or `play` is refused, and the stream goes on.
 */
export class SecondStreamGuard {
  readonly #refuse: (status: RtmpMessage) => void
  #refusals = 0

  /** @param refuse Sends a status to the client. */
  constructor(refuse: (status: RtmpMessage) => void) {
    this.#refuse = refuse
  }

  /**
   * Whether a command of the client may go on to the origin.
   * @throws RTMP_AMF0_MALFORMED, RTMP_COMMAND_INVALID: what cannot be read could be anything; RTMP_SECOND_STREAM
   */
  lets(message: RtmpMessage): boolean {
    const name = commandName(message, 'client')
    if (name !== 'publish' && name !== 'play' && name !== 'play2') return true
    if (++this.#refusals > MAX_REFUSALS) {
      throw rtmpServiceError('RTMP_SECOND_STREAM', 'asked again and again for a second stream', {
        side: 'client',
        retryable: false,
      })
    }
    const info = amf0Object({
      level: 'error',
      code: name === 'publish' ? 'NetStream.Publish.Denied' : 'NetStream.Play.Failed',
      description: 'a connection carries one stream; open another for this one',
    })
    this.#refuse(commandMessage({ name: 'onStatus', transactionId: 0, args: [null, info] }, message.streamId))
    return false
  }
}
