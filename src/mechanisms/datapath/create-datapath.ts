import type { Datapath } from './contract.ts'
import { type LoadedAddon, loadAddon } from './engine-native/addon.ts'
import { NativeDatapath, type NativeEngineOptions } from './engine-native/native-datapath.ts'
import { NodeDatapath } from './engine-node/node-datapath.ts'
import { DatapathError } from './errors.ts'

export interface DatapathOptions extends NativeEngineOptions {
  /** `auto` is `native` where that can be had, else `node`. @defaultValue 'auto' */
  readonly engine?: 'auto' | 'native' | 'node'
  /** Told why `auto` became `node`. @defaultValue nobody is */
  readonly onFallback?: (reason: string) => void
  /** @defaultValue loads what was built at install time, else what came with the package */
  readonly loadAddon?: () => LoadedAddon
}

/**
 * The engine that the configuration asks for; it has no socket before `start`.
 *
 * @throws DATAPATH_ENGINE_UNAVAILABLE for `native` that cannot be had, DATAPATH_INVALID for threads of `node`
 */
export function createDatapath(options: DatapathOptions = {}): Datapath {
  const { engine = 'auto', onFallback, loadAddon: load = loadAddon, threads, onDeath, ...common } = options
  if (engine === 'node') {
    if (threads !== undefined && threads !== 1 && threads !== 'auto') {
      throw new DatapathError('DATAPATH_INVALID', `threads ${threads}: engine-node has none of its own`)
    }
    return new NodeDatapath(common)
  }
  const loaded = load()
  if ('addon' in loaded) {
    const native = { ...(threads !== undefined && { threads }), ...(onDeath !== undefined && { onDeath }) }
    return new NativeDatapath(loaded.addon, { ...common, ...native })
  }
  if (engine === 'native') {
    throw new DatapathError(
      'DATAPATH_ENGINE_UNAVAILABLE',
      `the native engine cannot be had: ${loaded.reason}`,
    )
  }
  onFallback?.(loaded.reason)
  return new NodeDatapath(common)
}
