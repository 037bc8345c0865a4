import { readFileSync, writeFileSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { replaceFile } from '../../src/store/replace-file.js'
import { temporaryDirectory } from './support.js'

/** A file that holds `before`, and the syncing of opened files, of which only its directory is one. */
async function prepare() {
  const path = join(temporaryDirectory(), 'store.json')
  writeFileSync(path, 'before')
  const directory = await open(dirname(path))
  const sync = vi.spyOn(Object.getPrototypeOf(directory) as FileHandle, 'sync')
  await directory.close()
  onTestFinished(() => sync.mockRestore())
  return { path, sync }
}

// What a power cut leaves cannot be seen from here, so that this looks at what is asked of the system.
it('the directory is synced once it has the new file, or a power cut would bring the earlier one back', async () => {
  const { path, sync } = await prepare()
  const whenSynced: unknown[] = []
  sync.mockImplementation(async function (this: FileHandle) {
    whenSynced.push([(await this.stat()).isDirectory(), readFileSync(path, 'utf8')])
  })
  await replaceFile(path, ['af', 'ter'])
  expect(whenSynced).toEqual([[true, 'after']])
})

it('a directory that cannot be synced fails nothing: the file has been replaced', async () => {
  const { path, sync } = await prepare()
  sync.mockRejectedValue(new Error('EINVAL'))
  await replaceFile(path, ['after'])
  expect(sync).toHaveBeenCalledOnce()
  expect(readFileSync(path, 'utf8')).toBe('after')
})
