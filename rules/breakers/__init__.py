"""Circuit breakers as meshes and libraries have them: windows, state, and what each profile does differently.

Pure: the time comes in, as whole microseconds of a clock that never goes back.
"""
