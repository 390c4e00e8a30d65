/** A native engine as a process of its own, so that it can live in a network namespace. Does what it is called for. */
import {
  type Arrival,
  COUNTER_STRIDE,
  createDatapath,
  type DatapathTotals,
  type Endpoint,
  type EndpointId,
  type EndpointOptions,
  type Flow,
  type FlowId,
  type LocalAddress,
  type Remote,
  type SendOptions,
} from '../../src/mechanisms/datapath/index.ts'
import { answerCalls } from './namespaces.ts'

/** A datagram to send; its bytes are base64, as all are. */
interface Datagram {
  readonly to: Remote
  readonly bytes: string
  readonly options?: SendOptions
}

/** How often wildcard endpoints look for new and gone addresses: often, so that no test waits for it. */
const interfacePollMs = 20

const engine = createDatapath({ engine: 'native', interfacePollMs })
const endpoints = new Map<EndpointId, Endpoint>()
const arrivals: (Omit<Arrival, 'bytes'> & { readonly bytes: string })[] = []

const calls = {
  async openEndpoint(options: EndpointOptions): Promise<Pick<Endpoint, 'id' | 'port'>> {
    const endpoint = await engine.openEndpoint(options, (arrival) => {
      const { endpoint, flow, local, kind, icmp, address, port } = arrival
      const bytes = Buffer.from(arrival.bytes).toString('base64')
      arrivals.push({ endpoint, flow, local, kind, icmp, address, port, bytes })
    })
    endpoints.set(endpoint.id, endpoint)
    return { id: endpoint.id, port: endpoint.port }
  },

  locals: (id: EndpointId): readonly LocalAddress[] => endpoints.get(id)?.locals ?? [],

  addFlow: (flow: Flow): FlowId => engine.addFlow(flow),

  /** Sends all in one turn; says of which the engine took. */
  send: (id: EndpointId, datagrams: readonly Datagram[]): boolean[] =>
    datagrams.map(({ to, bytes, options }) => engine.send(id, to, Buffer.from(bytes, 'base64'), options)),

  counters(flow: FlowId): { readonly packets: number; readonly bytes: number; readonly drops: number } {
    const numbers = new Float64Array(COUNTER_STRIDE)
    engine.readCounters([flow], numbers)
    const [packets = 0, bytes = 0, drops = 0] = numbers
    return { packets, bytes, drops }
  },

  totals: (): DatapathTotals => engine.totals(),

  /** What has arrived since it was last asked for. */
  takeArrivals: (): typeof arrivals => arrivals.splice(0),
}

export type DatapathCalls = typeof calls

await engine.start()
await answerCalls(calls)
await engine.close()
