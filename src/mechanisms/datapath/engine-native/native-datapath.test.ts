import { describeDatapath } from '../conformance.testkit.ts'
import { loadAddon } from './addon.ts'
import { NativeDatapath } from './native-datapath.ts'

const loaded = loadAddon()
if ('addon' in loaded) describeDatapath('engine-native', () => new NativeDatapath(loaded.addon))
