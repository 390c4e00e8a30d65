import { SluiceError, type Side } from '../../foundation/errors.ts'

/** Codes of `FrpError`, with what to do about each. */
export const FrpErrorCode = {
  /** A frame header cannot be (flags, frame type, too short). The peer speaks something else. End the connection. */
  frame: 'FRP_FRAME',
  /** A message of a type that does not exist, or that may not come here. End the connection. */
  messageType: 'FRP_MESSAGE_TYPE',
  /** A message above the protocol's limit (10,240 bytes in v1, 65,536 in v2). End the connection. */
  messageTooLarge: 'FRP_MESSAGE_TOO_LARGE',
  /** The content of a message is no JSON, or a field has another type. End the connection. */
  messageInvalid: 'FRP_MESSAGE_INVALID',
  /** The two sides of a v2 connection have no codec or cipher in common, or a hello lacks something. End the connection. */
  hello: 'FRP_HELLO',
  /** An encrypted record is damaged, out of order or too long, or the cipher's limit is reached. End the connection. */
  cipher: 'FRP_CIPHER',
  /** What we were asked to write is more than a message can hold, or cannot be said on this wire. Send less. */
  unwritable: 'FRP_UNWRITABLE',
} as const

export type FrpErrorCode = (typeof FrpErrorCode)[keyof typeof FrpErrorCode]

/** What ends a conversation in frp's protocols. */
export class FrpError extends SluiceError {
  override readonly name = 'FrpError'

  constructor(
    code: FrpErrorCode,
    message: string,
    options: { readonly side?: Side; readonly cause?: unknown } = {},
  ) {
    super(code, message, { side: options.side ?? 'client', retryable: false, cause: options.cause })
  }
}
