"""The embedded data set: questions and passages built from the CLDR data that `babel` carries."""
