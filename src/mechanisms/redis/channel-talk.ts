import type { Socket } from 'node:net'
import { ChannelReader } from './channel-reader.ts'
import type { RedisArgument } from './contract.ts'

export interface ChannelTalkEvents {
  readonly onMessage: (channel: string, message: string) => void
  /** Called when what comes makes no sense. */
  readonly onNonsense: (reason: string) => void
}

interface Waiting {
  readonly resolve: (answer: undefined) => void
  readonly reject: (error: Error) => void
}

/**
 * Takes a connection over that has no command under way, to hear channels on it. ioredis throws where nobody can catch it
 * when a server says there what it should not, which would end the process.
 */
export class ChannelTalk {
  readonly #socket: Socket
  readonly #waiting: Waiting[] = []

  constructor(socket: Socket, { onMessage, onNonsense }: ChannelTalkEvents) {
    this.#socket = socket
    const reader = new ChannelReader()
    socket.removeAllListeners('data')
    socket.on('data', (piece: Buffer) => {
      const words = reader.push(piece)
      if (words === undefined) onNonsense('what answers there is no Redis')
      for (const word of words ?? []) {
        if (word.kind === 'message') onMessage(word.channel, word.message)
        else {
          const waiting = this.#waiting.shift()
          if (waiting === undefined) onNonsense('it answered what was not asked')
          else if (word.kind === 'answer') waiting.resolve(undefined)
          else waiting.reject(replyError(word.text))
        }
      }
    })
  }

  /** Sends a command that has one answer, which is of no interest unless it is an error. */
  send(name: string, args: readonly RedisArgument[]): Promise<undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      const texts = [name, ...args].map(String)
      const lines = texts.map((text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`)
      this.#socket.write(`*${texts.length}\r\n${lines.join('')}`)
    })
  }

  /** The connection has ended: no answer comes any more. */
  end(): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the connection has ended'))
  }
}

/** As ioredis names what a server has said. */
function replyError(text: string): Error {
  const error = new Error(text)
  error.name = 'ReplyError'
  return error
}
