import { type Addon, loadAddon } from './addon.ts'

/** The addon, which tests cannot do without. @throws Error that says why it cannot be had */
export function requireAddon(): Addon {
  const loaded = loadAddon()
  if ('addon' in loaded) return loaded.addon
  throw new Error(`the tests need the native engine: ${loaded.reason}`)
}
