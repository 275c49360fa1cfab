# Writes OUTPUT: one {"name", "text"} initializer for each of the FILES (separated by '|'), in the order given.
string(REPLACE "|" ";" FILES "${FILES}")
set(text "")
foreach(file ${FILES})
  get_filename_component(name ${file} NAME)
  file(READ ${file} content)
  string(APPEND text "{\"${name}\", R\"quern(${content})quern\"},\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
