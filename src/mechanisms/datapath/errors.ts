import { SluiceError } from '../../foundation/errors.ts'

/** Codes of the datapath's errors, each with what to do about it. */
export type DatapathErrorCode =
  /** The engine was not started, or is closed: start it first. */
  | 'DATAPATH_NOT_RUNNING'
  /** The native engine was asked for and cannot be had: the message says why. `auto` and `node` do without. */
  | 'DATAPATH_ENGINE_UNAVAILABLE'
  /** The engine lacks what was asked for: look at its `features`, or use `native`. */
  | 'DATAPATH_UNSUPPORTED'
  /** A thread of the native engine ended by a bug of ours: the process has to be restarted. */
  | 'DATAPATH_ENGINE_DIED'
  /** Options contradict themselves or are out of range: the message names the field. */
  | 'DATAPATH_INVALID'
  /** Another socket has the port: choose another or stop its owner. */
  | 'DATAPATH_PORT_TAKEN'
  /** The process may not bind the port (below 1024): choose a higher one, or grant CAP_NET_BIND_SERVICE. */
  | 'DATAPATH_PORT_FORBIDDEN'
  /** The machine does not have the address: check the configured addresses. */
  | 'DATAPATH_ADDRESS_UNAVAILABLE'
  /** No port of the range is free: widen the range. */
  | 'DATAPATH_PORTS_EXHAUSTED'
  /** The system gave no socket for another reason, such as no descriptors left: see the cause. */
  | 'DATAPATH_SYSTEM'
  /** The endpoint does not exist, or was closed. */
  | 'DATAPATH_UNKNOWN_ENDPOINT'
  /** The flow does not exist, or was removed. */
  | 'DATAPATH_UNKNOWN_FLOW'
  /** The meter does not exist, or was closed. */
  | 'DATAPATH_UNKNOWN_METER'
  /** The endpoint never had this local address, or none of the remote's family. */
  | 'DATAPATH_UNKNOWN_LOCAL'
  /** Another flow has the same source: remove it first. */
  | 'DATAPATH_FLOW_EXISTS'
  /** A flow names at most three meters. */
  | 'DATAPATH_TOO_MANY_METERS'

/** Misuse of the datapath, or a socket that the system refused. Always on our own side. */
export class DatapathError extends SluiceError {
  override readonly name: string = 'DatapathError'

  constructor(code: DatapathErrorCode, message: string, cause?: unknown) {
    super(code, message, { side: 'self', retryable: retryable.has(code), cause })
  }
}

const retryable: ReadonlySet<DatapathErrorCode> = new Set<DatapathErrorCode>([
  'DATAPATH_PORT_TAKEN',
  'DATAPATH_PORTS_EXHAUSTED',
  'DATAPATH_SYSTEM',
])
