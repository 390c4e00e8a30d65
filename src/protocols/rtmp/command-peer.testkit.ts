import { amf0Property } from './amf0.ts'
import type { Amf0Value } from './amf0.ts'
import { ChunkReader } from './chunk-reader.ts'
import { ChunkWriter } from './chunk-writer.ts'
import { commandMessage, decodeCommand, isCommand } from './command.ts'
import type { Command } from './command.ts'
import type { HandshakeStep } from './handshake.ts'
import type { RtmpMessage } from './message.ts'

export const testRandom = (size: number): Uint8Array => Buffer.alloc(size, 0x5a)

/** One end of a connection, driven message by message: what it sent lies in `sent`, what came in `messages`. */
export class CommandPeer {
  readonly messages: RtmpMessage[] = []
  readonly writer = new ChunkWriter()
  readonly #reader = new ChunkReader()
  readonly #handshake: { receive(bytes: Uint8Array): HandshakeStep }
  #isOpen = false
  #sent: Uint8Array[]

  constructor(handshake: { receive(bytes: Uint8Array): HandshakeStep; readonly hello?: Buffer }) {
    this.#handshake = handshake
    this.#sent = handshake.hello === undefined ? [] : [handshake.hello]
  }

  receive(bytes: Uint8Array): void {
    let rest: Uint8Array | undefined = bytes
    if (!this.#isOpen) {
      const step = this.#handshake.receive(bytes)
      this.#sent.push(step.send)
      this.#isOpen = step.rest !== undefined
      rest = step.rest
    }
    if (rest === undefined) return
    this.#reader.push(rest)
    for (let message = this.#reader.next(); message; message = this.#reader.next())
      this.messages.push(message)
  }

  send(message: RtmpMessage): void {
    this.#sent.push(this.writer.write(message))
  }

  call(name: string, transactionId: number, ...args: readonly Amf0Value[]): void {
    this.send(commandMessage({ name, transactionId, args }))
  }

  callOn(streamId: number, name: string, transactionId: number, ...args: readonly Amf0Value[]): void {
    this.send(commandMessage({ name, transactionId, args }, streamId))
  }

  takeSent(): Buffer {
    const bytes = Buffer.concat(this.#sent)
    this.#sent = []
    return bytes
  }

  /** The commands that came, without those taken before. */
  takeCommands(): Command[] {
    const commands = this.messages.filter(isCommand).map((message) => decodeCommand(message, 'self'))
    this.messages.length = 0
    return commands
  }
}

/** `code` of a status or an error. */
export function statusCode(command: Command | undefined): Amf0Value {
  return amf0Property(command?.args[1], 'code')
}
