import type { Datapath } from './contract.ts'
import { NodeDatapath } from './engine-node/node-datapath.ts'
import { DatapathError } from './errors.ts'
import type { NodeEngineOptions } from './control/engine-options.ts'

export interface DatapathOptions extends NodeEngineOptions {
  /** `auto` takes the fastest engine that this build has. @defaultValue 'auto' */
  readonly engine?: 'auto' | 'native' | 'node'
}

/**
 * The engine that the configuration asks for; it has no socket before `start`.
 *
 * @throws DATAPATH_ENGINE_UNAVAILABLE for `native`, which this build does not have
 */
export function createDatapath(options: DatapathOptions = {}): Datapath {
  const { engine = 'auto', ...nodeOptions } = options
  if (engine === 'native') {
    throw new DatapathError(
      'DATAPATH_ENGINE_UNAVAILABLE',
      'datapath.engine "native" is not part of this build; use "auto" or "node"',
    )
  }
  return new NodeDatapath(nodeOptions)
}
