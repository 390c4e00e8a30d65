import type { Side } from '../../foundation/errors.ts'
import { amf0Object, amf0Text, encodeAmf0, hasEntries } from './amf0.ts'
import type { Amf0Value } from './amf0.ts'
import type { Command } from './command.ts'
import { RtmpError, RtmpErrorCode } from './errors.ts'

/** What a client wants: all that it said in `connect` and in `publish` or `play`. */
export interface StreamRequest {
  readonly action: 'publish' | 'play'
  /** The `app` of the connect object; empty when there was none. */
  readonly app: string
  /** The `tcUrl` as the client wrote it; empty when there was none. */
  readonly tcUrl: string
  /** The stream name with what the client put behind it, as `name?token=x`. */
  readonly streamName: string
  /** `live`, `record` or `append`, where the client said so. */
  readonly publishType: string | undefined
  /** Further arguments of `play`: start, duration, reset. */
  readonly playArguments: readonly Amf0Value[]
  /** The `connect` command: its object, and what came after it. */
  readonly connect: Command
  /** The `publish` or `play` command. */
  readonly command: Command
  /** Message stream that the client uses for it. */
  readonly streamId: number
  /** What a player asked for by Set Buffer Length, in milliseconds. */
  readonly bufferLengthMs: number | undefined
}

/** Where a request came from, besides its two commands. */
export interface StreamRequestContext {
  readonly streamId: number
  readonly bufferLengthMs: number | undefined
  readonly side: Side
}

/**
 * The request that a `connect` and a `publish` or `play` make together.
 * @throws RTMP_COMMAND_INVALID when the stream name is missing
 */
export function readStreamRequest(
  connect: Command,
  command: Command,
  context: StreamRequestContext,
): StreamRequest {
  const [object] = connect.args
  const [, streamName, ...further] = command.args
  if (typeof streamName !== 'string') {
    throw new RtmpError(RtmpErrorCode.commandInvalid, `${command.name} without a stream name`, {
      side: context.side,
    })
  }
  const action = command.name === 'publish' ? 'publish' : 'play'
  const [first] = further
  return {
    action,
    app: amf0Text(object, 'app') ?? '',
    tcUrl: amf0Text(object, 'tcUrl') ?? '',
    streamName,
    publishType: action === 'publish' && typeof first === 'string' ? first : undefined,
    playArguments: action === 'play' ? further : [],
    connect,
    command,
    streamId: context.streamId,
    bufferLengthMs: context.bufferLengthMs,
  }
}

/** Where a stream is found. */
export type StreamPlace = Pick<StreamRequest, 'app' | 'tcUrl' | 'streamName'>

/** The same request for a stream that is elsewhere; all else that the client said stays as it is. */
export function requestElsewhere(request: StreamRequest, place: StreamPlace): StreamRequest {
  const { connect, command } = request
  const [object, ...furtherOfConnect] = connect.args
  const [first, , ...further] = command.args
  return {
    ...request,
    ...place,
    connect: withArguments(connect, [objectAt(object, place), ...furtherOfConnect]),
    command: withArguments(command, [first, place.streamName, ...further]),
  }
}

function objectAt(object: Amf0Value, { app, tcUrl }: StreamPlace): Amf0Value {
  const kept = hasEntries(object) ? object.entries : []
  const entries = kept.filter(([name]) => name !== 'app' && name !== 'tcUrl')
  return { kind: 'object', entries: [['app', app], ['tcUrl', tcUrl], ...entries] }
}

function withArguments(command: Command, args: readonly Amf0Value[]): Command {
  return { ...command, args, argumentBytes: encodeAmf0(...args) }
}

/** What is needed to ask for a stream. */
export interface StreamRequestFields {
  readonly action: 'publish' | 'play'
  readonly app: string
  readonly tcUrl: string
  readonly streamName: string
  /** More properties of the connect object, after `app` and `tcUrl`. */
  readonly connectProperties?: Readonly<Record<string, Amf0Value>>
  /** Arguments of `connect` after its object. */
  readonly connectArguments?: readonly Amf0Value[]
}

/** A request of our own, for a `ClientDialogue`. */
export function createStreamRequest(fields: StreamRequestFields): StreamRequest {
  const { action, app, tcUrl, streamName } = fields
  const object = amf0Object({ app, tcUrl, ...fields.connectProperties })
  const connect = createCommand('connect', 1, [object, ...(fields.connectArguments ?? [])])
  const args = action === 'publish' ? [null, streamName, 'live'] : [null, streamName]
  const command = createCommand(action, 5, args)
  return readStreamRequest(connect, command, { streamId: 1, bufferLengthMs: undefined, side: 'self' })
}

function createCommand(name: string, transactionId: number, args: readonly Amf0Value[]): Command {
  return { name, transactionId, args, argumentBytes: encodeAmf0(...args) }
}
