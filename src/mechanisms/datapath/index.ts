/**
 * The datapath: moves datagrams of the flows that TypeScript has admitted, and hands it the rest. Services
 * open endpoints and add flows; between the sockets and them stands one engine.
 *
 * @module
 */
export {
  ALL_THREADS,
  type Arrival,
  type BatchSizes,
  COUNTER_STRIDE,
  type Datapath,
  DATAPATH_FEATURES,
  type DatapathFeature,
  type DatapathTotals,
  type DeliverFlow,
  DROP_REASONS,
  type DropReason,
  type Endpoint,
  type EndpointId,
  type EndpointOptions,
  type Flow,
  type FlowId,
  type FlowSource,
  type FlowTarget,
  type ForwardFlow,
  type IcmpError,
  type LocalAddress,
  type MeterId,
  type MeterOptions,
  type PortChoice,
  type Receiver,
  type Remote,
  type SendOptions,
  STRANGER,
  type TurnChannelFlow,
  type TurnIndicationFlow,
} from './contract.ts'
export { createDatapath, type DatapathOptions } from './create-datapath.ts'
export { registerDatapathMetrics } from './datapath-metrics.ts'
export { NodeDatapath } from './engine-node/node-datapath.ts'
export { DatapathError, type DatapathErrorCode } from './errors.ts'
export { canonicalAddress } from './control/ip-address.ts'
export type { InterfaceLister } from './control/local-addresses.ts'
export type { EngineOptions, PacketBudget } from './control/engine-options.ts'
