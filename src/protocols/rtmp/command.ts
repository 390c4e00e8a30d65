import type { Side } from '../../foundation/errors.ts'
import { Amf0Decoder, encodeAmf0 } from './amf0.ts'
import type { Amf0Value } from './amf0.ts'
import { RtmpError, RtmpErrorCode } from './errors.ts'
import { MessageType } from './message.ts'
import type { RtmpMessage } from './message.ts'

/** A command message (RTMP specification 7.1.1 and 7.2): a call, or the answer to one. */
export interface Command {
  /** `connect`, `publish` ...; `_result` and `_error` answer the call of the same transaction id. */
  readonly name: string
  /** 0 when no answer is expected. */
  readonly transactionId: number
  /** The command object (null where there is none) and the arguments after it. */
  readonly args: readonly Amf0Value[]
  /** `args` as they came, in AMF0: for passing them on unchanged, whatever the encoding of their text. */
  readonly argumentBytes: Uint8Array
}

/** Chunk stream that commands are written on. */
const COMMAND_CHUNK_STREAM_ID = 3

/** Whether the message holds a command. */
export function isCommand(message: Pick<RtmpMessage, 'type'>): boolean {
  return message.type === MessageType.command || message.type === MessageType.commandAmf3
}

/**
 * Reads a command message; one of type 17 (AMF3) holds a byte 0 and then AMF0.
 * @throws RTMP_AMF0_MALFORMED, RTMP_COMMAND_INVALID
 */
export function decodeCommand(message: RtmpMessage, side: Side): Command {
  const payload = amf0Payload(message, side)
  const decoder = new Amf0Decoder(payload, { side })
  const name = decoder.next()
  // Some clients leave the transaction id out where no answer is expected.
  const transactionId = decoder.isDone ? 0 : decoder.next()
  if (typeof name !== 'string' || typeof transactionId !== 'number') {
    throw new RtmpError(RtmpErrorCode.commandInvalid, 'a command without a name or a transaction id', {
      side,
    })
  }
  const argumentBytes = payload.subarray(decoder.offset)
  const args: Amf0Value[] = []
  while (!decoder.isDone) args.push(decoder.next())
  return { name, transactionId, args, argumentBytes }
}

/**
 * The name of a command message; its arguments are not looked at.
 * @throws RTMP_AMF0_MALFORMED, RTMP_COMMAND_INVALID
 */
export function commandName(message: RtmpMessage, side: Side): string {
  const name = new Amf0Decoder(amf0Payload(message, side), { side }).next()
  if (typeof name === 'string') return name
  throw new RtmpError(RtmpErrorCode.commandInvalid, 'a command without a name', { side })
}

/** What makes a command message, with its arguments as values. */
export interface CommandFields {
  readonly name: string
  readonly transactionId: number
  readonly args: readonly Amf0Value[]
}

/** A command message of type 20 on `streamId`. */
export function commandMessage(command: CommandFields, streamId = 0): RtmpMessage {
  return rawCommandMessage(command.name, command.transactionId, encodeAmf0(...command.args), streamId)
}

/** A command message of type 20 whose arguments are AMF0 already. */
export function rawCommandMessage(
  name: string,
  transactionId: number,
  argumentBytes: Uint8Array,
  streamId: number,
): RtmpMessage {
  const payload = Buffer.concat([encodeAmf0(name, transactionId), argumentBytes])
  return {
    chunkStreamId: COMMAND_CHUNK_STREAM_ID,
    type: MessageType.command,
    streamId,
    timestamp: 0,
    payload,
  }
}

function amf0Payload(message: RtmpMessage, side: Side): Uint8Array {
  if (message.type !== MessageType.commandAmf3) return message.payload
  if (message.payload[0] !== 0) {
    throw new RtmpError(RtmpErrorCode.commandInvalid, 'an AMF3 command that does not hold AMF0', { side })
  }
  return message.payload.subarray(1)
}
